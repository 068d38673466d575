"""A service that a file configures: started, checked, reloaded, upgraded."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import tomllib
from functools import partial
from pathlib import Path

import pytest

from integration.client import Client, Closed
from integration.ports import free_port
from integration.server import DEADLINE, Server, run, until
from integration.sites import version, write

SPAWN = [sys.executable, "-m", "spawning"]
SHOWS = """
import json, os, sys


def application(environ, start_response):
    found = {
        "directory": os.getcwd(), "path": sys.path[:2], "A": os.environ.get("A"),
        "threads": environ["wsgi.multithread"], "scheme": environ["wsgi.url_scheme"],
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
"""


def shown(port: int, *fields: str) -> dict[str, object]:
    with Client(port) as client:
        answer: dict[str, object] = json.loads(client.get("/", "Connection: close", *fields).text)
        return answer


def configure(directory: Path, text: str, name: str = "spawning.toml") -> Path:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


# Starting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spawning.toml", "pyproject.toml"])
def test_the_command_alone_starts_what_the_file_says(tmp_path: Path, name: str) -> None:
    write(tmp_path, "1")
    head = "[tool.spawning]\n" if name == "pyproject.toml" else ""
    configure(tmp_path, f'{head}app = "site_app:application"\nprocesses = 2\nport = 0\n', name)
    with Server(command=SPAWN, cwd=tmp_path) as server:
        assert version(server.port) == "1"
        assert len(server.workers()) == 2


def test_variables_alone_start_it_too(tmp_path: Path) -> None:
    write(tmp_path, "1")
    env = {"SPAWNING_APP": "site_app", "SPAWNING_PROCESSES": "1", "SPAWNING_PORT": "0"}
    with Server(command=SPAWN, cwd=tmp_path, env=env) as server:
        server.wait_for_log(r" INFO application found in its module application=site_app:application$")
        assert version(server.port) == "1"


def test_port_from_the_environment_binds_every_address(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Server(command=[*SPAWN, "-s", "1", "site_app"], cwd=tmp_path, env={"PORT": str(port)}) as server:
        assert server.url == f"http://0.0.0.0:{port}"
        assert version(port) == "1"


def test_directory_path_and_variables(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "lib").mkdir(parents=True)
    (site / "shows.py").write_text("from inside import application\n")
    (site / "lib" / "inside.py").write_text(SHOWS)
    configure(site, 'app = "shows:application"\nprocesses = 1\npythonpath = ["lib"]\nenv-file = ".env"\n')
    configure(site, "A='from the file'\nSPAWNING_THREADS=1\n", ".env")
    with Server("--chdir", "site", cwd=tmp_path) as server:
        found = shown(server.port)
        assert found["directory"] == str(site)
        assert found["path"] == [str(site / "lib"), str(site)]
        assert (found["A"], found["threads"]) == ("from the file", False)
        configure(site, "A=another\n", ".env")
        assert server.reload()
        assert (shown(server.port)["A"], shown(server.port)["threads"]) == ("another", True)
        (site / ".env").unlink()
        assert not server.reload()
        server.wait_for_log(
            r' reload refused generation=3 reason="spawning.toml, line 4, env-file: there is no file \.env"'
        )
    with Server("--chdir", "site", cwd=tmp_path, env={"A": "set"}, ready=False) as server:
        assert server.wait() == 2


def test_a_relative_chdir_survives_an_upgrade(tmp_path: Path) -> None:
    """The new program is in the directory already, and is told where the command was typed."""
    site = tmp_path / "site"
    site.mkdir()
    write(site, "1")
    configure(tmp_path, 'app = "site_app"\nprocesses = 1\n', "conf.toml")
    with Server("--chdir", "site", "--config", "conf.toml", cwd=tmp_path) as server:
        for generation in (2, 3):
            write(site, str(generation))
            mark = server.mark()
            server.signal(signal.SIGUSR2)
            server.wait_for_log(rf" reload finished generation={generation} ", after=mark)
            assert version(server.port) == str(generation)


def test_a_file_that_breaks_in_the_middle_of_an_upgrade_ends_nothing(tmp_path: Path) -> None:
    """It could be read when the new program was tried, and cannot be when that runs."""
    write(tmp_path, "1")
    path = configure(tmp_path, 'app = "site_app"\nprocesses = 1\n')
    breaks = f"""
    import os
    if "SPAWNING_SUCCEED" in os.environ:
        open({str(path)!r}, "w").write("prot = 1")
    """
    configure(tmp_path, breaks, "hook/sitecustomize.py")
    with Server(cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "hook")}) as server:
        write(tmp_path, "2")
        server.signal(signal.SIGUSR2)
        server.wait_for_log(
            r' ERROR the configuration cannot be read reason="spawning.toml, line 1: there is no setting'
        )
        server.wait_for_log(r" reload refused generation=2 reason=\"spawning.toml, line 1: there is no setting")
        assert version(server.port) == "1"
        configure(tmp_path, 'app = "site_app"\nprocesses = 1\n')
        assert server.reload()
        assert version(server.port) == "2"


# Reloading -----------------------------------------------------------------------------------------------------------


def test_a_reload_reads_the_file_again(tmp_path: Path) -> None:
    (tmp_path / "shows.py").write_text(SHOWS)
    configure(tmp_path, 'app = "shows"\nprocesses = 1\nthreads = 1\n')
    proxied = "X-Forwarded-Proto: https"
    with Server(cwd=tmp_path) as server:
        assert (shown(server.port, proxied)["threads"], shown(server.port, proxied)["scheme"]) == (False, "http")
        configure(
            tmp_path,
            """
            app = "shows"
            processes = 2
            threads = 4
            forwarded-allow-ips = "127.0.0.1"
            access-log-file = "access.log"
            verbose = true
            server-header = "other"
            backlog = 7
            pidfile = "pid"
            """,
        )
        assert server.reload()
        server.wait_for_log(
            ' WARNING settings have changed that need a restart generation=2 settings="backlog, pidfile"$'
        )
        server.wait_workers(2)
        assert (shown(server.port, proxied)["threads"], shown(server.port, proxied)["scheme"]) == (True, "https")
        assert not (tmp_path / "pid").exists()
        with Client(server.port) as client:
            assert client.get("/")["server"] == "other"
        until((tmp_path / "access.log").read_text, "a line in the log")


def served(*where: int | str) -> list[bool]:
    """Return which ports or paths somebody listens on."""
    found = []
    for each in where:
        try:
            found.append(version(each) != "")
        except (ConnectionRefusedError, FileNotFoundError, Closed):  # the last: it was being closed
            found.append(False)
    return found


def test_a_reload_reads_addresses(tmp_path: Path) -> None:
    write(tmp_path, "1")
    first, second, third = (free_port() for _ in range(3))
    path = tmp_path / "s"
    app = 'app = "site_app"\nprocesses = 1\n'

    def serves(*expected: bool) -> bool:
        return served(first, second, third, str(path)) == list(expected)

    said = [
        (f"port = {first}", (True, False, False, False)),
        (f"port = {second}", (False, True, False, False)),
        (f'bind = [":{third}", "unix:s"]', (False, False, True, True)),
        (f'port = {first}\nbind = ["unix:s"]', (True, False, False, True)),
        (f'host = "127.0.0.1"\nport = {first}', (True, False, False, False)),
    ]
    configure(tmp_path, app + said[0][0])
    with Server(command=SPAWN, cwd=tmp_path) as server:
        for number, (text, expected) in enumerate(said):
            if number:
                configure(tmp_path, f"{app}{text}\n")
                assert server.reload()
            until(partial(serves, *expected), f"{text} listened to")
        assert "need a restart" not in server.log()
        with socket.create_server(("127.0.0.1", second)):
            configure(tmp_path, f"{app}bind = ['unix:s', ':{second}']\n")
            assert not server.reload()
            server.wait_for_log(
                rf" reload refused generation=6 reason=\"spawning.toml, line 3, bind: port {second} of "
            )
        assert serves(True, False, False, False)


def test_an_address_of_the_file_does_not_count_before_a_reload_has_taken_it(tmp_path: Path) -> None:
    """A replacement for a fork server listens where that one did, whatever a refused reload has read meanwhile."""
    write(tmp_path, "1")
    port = free_port()
    configure(tmp_path, 'app = "site_app"\nprocesses = 1\nbind = ["unix:s"]\n')
    with Server(command=SPAWN, cwd=tmp_path) as server:
        configure(tmp_path, f'app = "nothing"\nprocesses = 1\nbind = ["unix:t"]\nport = {port}\n')
        assert not server.reload()
        mark = server.mark()
        until(lambda: len(server.fork_servers()) == 1, "the refused one is gone")
        os.kill(server.fork_servers()[0].pid, signal.SIGKILL)
        server.wait_for_log(r" (reload|repair)\S* finished generation=3 ", after=mark)
        assert served(str(tmp_path / "s"), str(tmp_path / "t"), port) == [True, False, False]
        assert server.log().count(" listener opened ") == 2  # both of them for the one that was refused


def test_a_page_of_a_refusal_is_where_the_site_is(tmp_path: Path) -> None:
    write(tmp_path, "1")
    port = free_port()
    app = 'app = "site_app"\nprocesses = 1\nreload = "dev"\n'
    configure(tmp_path, f'{app}bind = ["unix:s"]\n')
    with Server(command=SPAWN, cwd=tmp_path) as server:
        write(tmp_path, "2", before="raise RuntimeError")
        configure(tmp_path, f'{app}bind = ["unix:s"]\nport = {port}\n')
        server.wait_for_log(r" traceback served url=unix:")
        with Client(str(tmp_path / "s")) as client:
            assert client.get("/").status == 503
        assert served(port) == [False]
        write(tmp_path, "3")
        server.wait_for_log(r" reload finished ")
        assert (version(str(tmp_path / "s")), version(port)) == ("3", "3")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("app = site_app", "spawning.toml is not TOML: "),
        ('app = "site_app"\nprot = 1', "spawning.toml, line 2: there is no setting 'prot'; did you mean port?"),
        ('app = "site_app"\nprocesses = 0', "spawning.toml, line 2, processes: 0 is not a whole number from 1 to 1024"),
    ],
)
def test_a_file_that_cannot_be_used_refuses_the_reload(tmp_path: Path, text: str, reason: str) -> None:
    write(tmp_path, "1")
    configure(tmp_path, 'app = "site_app"\nprocesses = 1\n')
    with Server(cwd=tmp_path) as server:
        configure(tmp_path, text)
        write(tmp_path, "2")
        mark = server.mark()
        assert not server.reload()
        assert reason in server.wait_for_log(r" reload refused generation=2 reason=(.*)", after=mark)[1]
        assert version(server.port) == "1"
        configure(tmp_path, 'app = "site_app"\nprocesses = 1\n')
        assert server.reload()
        assert version(server.port) == "2"


def test_an_application_that_the_file_no_longer_names_refuses_the_reload(tmp_path: Path) -> None:
    write(tmp_path, "1")
    configure(tmp_path, 'app = "site_app"\nprocesses = 1\n')
    with Server(cwd=tmp_path) as server:
        configure(tmp_path, "processes = 1\n")
        assert not server.reload()
        server.wait_for_log(r' reload refused generation=2 reason="no APP given: ')
        assert version(server.port) == "1"


def test_a_change_of_the_file_is_a_change(tmp_path: Path) -> None:
    write(tmp_path, "1")
    (tmp_path / "other_app.py").write_text((tmp_path / "site_app.py").read_text().replace("'1'", "'other'"))
    configure(tmp_path, 'app = "site_app"\nprocesses = 1\nreload = "dev"\n')
    with Server(cwd=tmp_path) as server:
        configure(tmp_path, 'app = "other_app"\nreload = "dev"\nprocesses = 0\n')
        server.wait_for_log(r" reload refused generation=2 reason=\"spawning.toml, line 3, processes: 0 is not ")
        mark = server.mark()
        configure(tmp_path, 'app = "other_app"\nprocesses = 1\nreload = "dev"\n')
        server.wait_for_log(r" reload finished generation=3 ", after=mark)
        assert version(server.port) == "other"


def test_a_start_that_waits_for_its_repair_also_waits_for_its_file(tmp_path: Path) -> None:
    write(tmp_path, "1", before="raise RuntimeError")
    configure(tmp_path, 'app = "site_app"\nprocesses = 1\nreload = "dev"\n')
    with Server(cwd=tmp_path, ready=False) as server:
        server.wait_for_log(r" start refused, waiting for a change generation=1 ")
        configure(tmp_path, 'app = "site_app"\nprocesses = 0\nreload = "dev"\n')
        server.wait_for_log(r" start refused, waiting for a change generation=\d+ reason=.* 0 is not a whole number")
        write(tmp_path, "2")
        configure(tmp_path, 'app = "site_app"\nprocesses = 1\nreload = "dev"\n')
        server.wait_ready()
        assert version(server.port) == "2"


def test_a_fork_server_is_repaired_with_the_settings_that_serve(tmp_path: Path) -> None:
    """A file that has changed since is the next reload's business."""
    (tmp_path / "shows.py").write_text(SHOWS)
    configure(tmp_path, 'app = "shows"\nprocesses = 1\nthreads = 1\n')
    with Server(cwd=tmp_path) as server:
        configure(tmp_path, 'app = "nothing"\nprocesses = 3\n')
        mark = server.mark()
        (fork_server,) = server.fork_servers()
        os.kill(fork_server.pid, signal.SIGKILL)
        server.wait_for_log(r" (reload|repair)\S* finished generation=2 ", after=mark)
        server.wait_workers(1)
        assert shown(server.port)["threads"] is False


# Questions -----------------------------------------------------------------------------------------------------------


def spawn(*args: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPAWNING_", "PORT"))}
    return subprocess.run(
        [*SPAWN, *args], cwd=cwd, env={**environ, **(env or {})}, capture_output=True, text=True, timeout=DEADLINE,
        check=False,
    )  # fmt: skip


def test_what_is_printed_could_be_the_file(tmp_path: Path) -> None:
    configure(tmp_path, 'app = "site_app"\nprocesses = 2\nhealth-path = ["/a"]\nserver-header = "a \\"b\\""\n')
    env = {"SPAWNING_THREADS": "3", "PORT": "5000"}
    printed = spawn("--print-config", "-l", "x.log", "--no-auto-rollback", cwd=tmp_path, env=env)
    assert (printed.returncode, printed.stderr) == (0, "")
    lines = printed.stdout.splitlines()
    for line in (
        'app = "site_app"  # spawning.toml',
        "processes = 2  # spawning.toml",
        "threads = 3  # SPAWNING_THREADS",
        'bind = [":5000"]  # PORT',
        "# host does not count beside bind  # default",
        "# port does not count beside bind  # PORT",
        'access-log-file = "x.log"  # option --access-log-file',
        "auto-rollback = false  # option --auto-rollback",
        'factory = "wsgi"  # default',
        "# pidfile has no value  # default",
    ):
        assert line in lines
    configure(tmp_path, printed.stdout, "printed.toml")
    again = spawn("--print-config", "--config", "printed.toml", cwd=tmp_path, env={})
    assert tomllib.loads(again.stdout) == tomllib.loads(printed.stdout)


def test_what_is_checked_is_good(tmp_path: Path) -> None:
    write(tmp_path, "1")
    configure(tmp_path, 'app = "site_app"\nready-path = "/"\npidfile = "pid"\naccess-log-file = "log"\n')
    checked = spawn("--check-config", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "the configuration is good: site_app loads\n"), checked
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"site_app.py", "spawning.toml"}


def test_a_service_that_runs_is_not_disturbed_by_a_check(tmp_path: Path) -> None:
    write(tmp_path, "1")
    listeners = f'["unix:s", "unix:@spawning-{os.getpid()}"]'
    configure(tmp_path, f'app = "site_app"\nprocesses = 1\npidfile = "pid"\nready-path = "/"\nbind = {listeners}\n')
    with Server(cwd=tmp_path) as server:
        made = os.stat(tmp_path / "s").st_ino
        mark = server.mark()
        checked = spawn("--check-config", "--port", str(server.port), cwd=tmp_path)
        assert os.stat(tmp_path / "s").st_ino == made
        assert checked.returncode == 0, checked
        assert (tmp_path / "pid").read_text() == f"{server.pid}\n"
        assert version(server.port) == "1"
        assert server.mark() == mark


@pytest.mark.parametrize(
    ("text", "before", "status", "message"),
    [
        ("processes = 0", "", 2, "spawn: spawning.toml, line 2, processes: 0 is not a whole number from 1 to 1024"),
        ('host = "192.0.2.1"', "", 2, "spawn: spawning.toml, line 2, host: '192.0.2.1' is not an address of this"),
        ('bind = ["unix:no/s"]', "", 2, "spawn: spawning.toml, line 2, bind: there is no directory {cwd}/no for"),
        ('bind = ["unix:spawning.toml"]', "", 2, "spawn: spawning.toml, line 2, bind: {cwd}/spawning.toml exists"),
        ('bind = ["unix:s?owner=nobody-here"]', "", 2, "spawn: spawning.toml, line 2, bind: owner=nobody-here: "),
        ('bind = ["unix:s", "unix:s"]', "", 2, "spawn: spawning.toml, line 2, bind: unix:s is there twice; "),
        ('bind = [":1", "8000"]', "", 2, "spawn: spawning.toml, line 2, bind: ':1', '8000' is not an address: "),
        ('pidfile = "no/pid"', "", 2, "spawn: spawning.toml, line 2, pidfile: cannot write no/pid: no does not exist"),
        ('access-log-file = "/"', "", 2, "spawn: spawning.toml, line 2, access-log-file: cannot write /"),
        ('watch = ["no"]', "", 2, "spawn: spawning.toml, line 2, watch: {cwd}/no does not exist"),
        ('factory = "no.such"', "", 3, "spawn: there is no module no"),
        ("", "raise RuntimeError('no')", 3, "spawn: cannot import site_app: RuntimeError: no"),
        ("no-preload = true", "raise RuntimeError('no')", 3, "spawn: cannot import site_app: RuntimeError: no"),
        ('ready-path = "/"\nready-status = 404', "", 3, "spawn: GET / answered 200 OK, body: 1; expected 404"),
        ("boot-timeout = 0.5", "import threading; threading.Event().wait()", 3, "spawn: the application was not ready"),
        ("", "import os; os._exit(7)", 3, "spawn: a process has died before the application was ready"),
    ],
)  # fmt: skip
def test_what_is_checked_is_not_good(tmp_path: Path, text: str, before: str, status: int, message: str) -> None:
    write(tmp_path, "1", before=before)
    configure(tmp_path, f'app = "site_app"\n{text}\n')
    finished = run("--check-config", cwd=tmp_path)  # which fails if a process is left
    assert finished.status == status, finished
    assert finished.out == ""
    assert finished.err.splitlines()[-1].startswith(message.format(cwd=tmp_path)), finished.err


def test_the_schema_is_json_and_knows_every_key() -> None:
    printed = spawn("--print-schema", cwd=Path("/"))
    properties = json.loads(printed.stdout)["properties"]
    assert properties["processes"]["minimum"] == 1
    assert {"app", "middleware", "request-timeout", "request_timeout", "num_processes"} <= set(properties)


@pytest.mark.parametrize("question", ["--print-schema", "--print-config"])
def test_a_full_disk_is_one_line(tmp_path: Path, question: str) -> None:
    with open("/dev/full", "wb") as full:
        finished = subprocess.run([*SPAWN, question], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False)
    assert finished.returncode == 2
    assert finished.stderr == b"spawn: cannot write to stdout: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("spawn --max-requests-", ["plain,--max-requests-jitter"]),
        ("spawn --reload ", ["plain,dev", "plain,git"]),
        ("spawn -f ", ["plain,wsgi", "plain,django", "plain,paste"]),
        ("spawn --config ", ["file,"]),
        ("spawn --chdir ", ["dir,"]),
    ],
)
def test_completion(tmp_path: Path, words: str, found: list[str]) -> None:
    typed = words.split(" ")
    env = {"_SPAWN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(typed) - 1)}
    assert spawn(cwd=tmp_path, env=env).stdout.splitlines() == found
