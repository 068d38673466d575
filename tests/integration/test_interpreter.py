"""Every process of a server is an interpreter like the one that was started, and nothing of the application is ours."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from integration.client import Client, fetch
from integration.server import Server

APPLICATION = """\
import json, sys, warnings
__import__("{module}")

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    facts = {{
        "flags": {{name: getattr(sys.flags, name) for name in {flags!r}}},
        "xoptions": sys._xoptions, "warnings": sys.warnoptions, "path": sys.path,
        "unbuffered": sys.stdout.write_through, "executable": sys.executable,
    }}
    return [json.dumps(facts).encode()]
"""
FLAGS = ("optimize", "dev_mode", "isolated", "ignore_environment", "no_user_site", "dont_write_bytecode")
ENV = {"PYTHONUNBUFFERED": "", "PYTHONDONTWRITEBYTECODE": ""}


def write(directory: Path, module: str = "sys") -> None:
    (directory / "site_app.py").write_text(APPLICATION.format(module=module, flags=FLAGS))


def facts(server: Server) -> Any:
    return json.loads(fetch(server.port).body)


def start(cwd: Path, *before: str) -> Server:
    return Server(command=[sys.executable, *before, "--port", "0", "-s", "1", "site_app:application"], cwd=cwd, env=ENV)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-O"], {"optimize": 1}),
        (["-X", "dev", "-W", "error::UserWarning"], {"dev_mode": True}),
        (["-I"], {"isolated": 1, "ignore_environment": 1, "no_user_site": 1}),
        (["-E", "-s", "-B", "-b"], {"ignore_environment": 1, "no_user_site": 1, "dont_write_bytecode": 1}),
        (["-uOO"], {"optimize": 2}),
    ],
    ids=" ".join,
)
def test_options_hold_in_all_processes(tmp_path: Path, options: Sequence[str], expected: dict[str, Any]) -> None:
    write(tmp_path)
    with start(tmp_path, *options, "-m", "spawning") as server:
        first = facts(server)
        assert first["flags"].items() >= expected.items()
        assert first["unbuffered"] is ("-uOO" in options)
        assert ("error::UserWarning" in first["warnings"]) is ("-W" in options)
        assert server.reload()
        assert facts(server) == first
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(" upgrade approved ", after=mark)
        server.wait_for_log(" reload finished ", after=mark)
        assert facts(server) == first


def test_what_a_script_adds_to_the_path_is_there_for_all(tmp_path: Path) -> None:
    site, extra, behind = tmp_path / "site", tmp_path / "extra", tmp_path / "behind"
    for directory in (site, extra, behind):
        directory.mkdir()
    write(site, "in_extra")
    (extra / "in_extra.py").write_text("import in_behind\n")
    (behind / "in_behind.py").write_text("")
    script = tmp_path / "serve.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(extra)!r})\nsys.path.append({str(behind)!r})\n"
        "from spawning.cli import main\nsys.exit(main())\n"
    )
    with start(site, str(script)) as server:
        first = facts(server)["path"]
        assert first[:2] == [str(site), str(extra)]
        assert first[-1] == str(behind)
        assert server.reload()
        assert facts(server)["path"] == first
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(" reload finished ", after=mark)
        assert set(facts(server)["path"]) >= {str(site), str(extra), str(behind)}


def test_a_spawning_that_only_the_script_finds(tmp_path: Path) -> None:
    import spawning

    write(tmp_path)
    vendored = tmp_path / "vendored"
    vendored.mkdir()
    (vendored / "spawning").symlink_to(Path(spawning.__path__[0]))
    script = tmp_path / "serve.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(vendored)!r})\nfrom spawning.cli import main\nsys.exit(main())\n"
    )
    with start(tmp_path, str(script)) as server:
        assert str(vendored) in facts(server)["path"]
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(" reload finished ", after=mark)
        assert str(vendored) in facts(server)["path"]


def test_what_a_script_adds_below_the_application_follows_the_release(tmp_path: Path) -> None:
    for release in ("1", "2"):
        library = tmp_path / release / "lib"
        library.mkdir(parents=True)
        (library / "in_lib.py").write_text("")
        write(tmp_path / release, "in_lib")
        (tmp_path / release / "serve.py").write_text(
            "import os, sys\nsys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), 'lib'))\n"
            "from spawning.cli import main\nsys.exit(main())\n"
        )
    current = tmp_path / "current"
    current.symlink_to("1")
    command = [sys.executable, "serve.py", "--port", "0", "-s", "1", "site_app:application"]
    with Server(command=command, cwd=current, env={"PWD": str(current)}) as server:
        assert str(tmp_path / "1" / "lib") in facts(server)["path"]
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(current)
        assert server.reload()
        path = facts(server)["path"]
        assert str(tmp_path / "2" / "lib") in path
        assert not [entry for entry in path if entry.startswith(str(tmp_path / "1"))]


SHADOWED = ("click", "setproctitle", "watchfiles", "rich", "pygments", *sys.stdlib_module_names)
SITE = """\
def application(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("it fails")
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/slow":
        import time
        while True:
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % len(body)]
"""


@pytest.mark.parametrize("preload", [[], ["--no-preload"]], ids=["preload", "no-preload"])
def test_no_file_of_the_application_is_taken_for_the_servers(tmp_path: Path, preload: list[str]) -> None:
    for name in SHADOWED:
        if not name.startswith("_"):
            (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} is shadowed')\n")
    (tmp_path / "site_app.py").write_text(SITE)
    options = [
        "--ready-path",
        "/site",
        "--request-timeout",
        "0.3",
        "--reload",
        "dev",
        "--script-name",
        "/site",
        "--request-id-header",
        "X-Id",
        *preload,
    ]
    # The interpreter itself imports this on its way to a module.
    command = [sys.executable, "-P", "-m", "spawning", "--port", "0", "-s", "1", *options, "site_app:application"]
    with Server(command=command, cwd=tmp_path) as server:
        with Client(server.port) as client:
            assert client.post("/site/", b"x" * (1 << 21)).text == str(1 << 21)
        assert fetch(server.port, "/site/fail").status == 500
        server.wait_for_log("ValueError: it fails")
        assert fetch(server.port, "/site/slow").status == 504
        mark = server.mark()
        (tmp_path / "site_app.py").write_text("raise ValueError('it does not load')\n")
        server.wait_for_log(" reload refused ", after=mark)
        assert "is shadowed" not in server.log()
