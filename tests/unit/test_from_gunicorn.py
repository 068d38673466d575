"""``spawn --from-gunicorn``: files of gunicorn's settings, each with the settings of ours that mean the same.

``tests/elsewhere/gunicorn`` has the files, such as people write them. What is expected may have keys that the table of
settings does not have; those are in a comment of the result then, and nowhere else.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from spawning.cli import main
from spawning.elsewhere import gunicorn, taking
from spawning.elsewhere.convert import from_gunicorn
from spawning.errors import ConfigError
from spawning.settings import OPTIONS
from spawning.settings.checking import parsed
from spawning.settings.names import key_of, setting_of
from spawning.settings.sources import Sources

FILES = sorted((Path(__file__).parents[1] / "elsewhere" / "gunicorn").glob("*.conf.py"))


def expected(file: Path) -> dict[str, Any]:
    """Return the settings that a file means here, by now."""
    values = tomllib.loads(file.with_name(file.name.replace(".conf.py", ".toml")).read_text())
    return as_parsed({key: value for key, value in values.items() if setting_of(key)})


def as_parsed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with their values as the table takes them."""
    names = {key: setting_of(key) or "" for key in values}
    return {key: parsed(name, values[key], key) if (name := names[key]) in OPTIONS else values[key] for key in values}


def converted(text: str, tmp_path: Path, *words: str, environ: Mapping[str, str] = {}) -> str:
    file = tmp_path / "gunicorn.conf.py"
    file.write_text(text)
    return from_gunicorn(str(file), words, environ)


def comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("# "))


def test_there_are_ten_files_and_more() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.partition(".")[0])
def test_a_file_becomes_settings_that_mean_the_same(file: Path) -> None:
    found = tomllib.loads(from_gunicorn(str(file), [], {}))
    assert as_parsed(found) == expected(file)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.partition(".")[0])
def test_the_result_can_be_used(file: Path, tmp_path: Path) -> None:
    (tmp_path / "spawning.toml").write_text(from_gunicorn(str(file), [], {}))
    typed = {} if "app" in expected(file) else {"args": ("shop:app",)}
    configuration = Sources(typed, str(tmp_path), {}).read_all()
    for key in expected(file).keys() & {key_of(name) for name in OPTIONS}:
        assert "spawning.toml, line " in configuration.sources[setting_of(key) or ""]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.partition(".")[0])
def test_each_thing_without_a_setting_has_a_comment(file: Path) -> None:
    text = from_gunicorn(str(file), [], {})
    names: dict[str, Any] = {}
    exec(file.read_text(), names)
    said = [row for row in gunicorn.ROWS if names.get(row.name, row.default) != row.default]
    without = [row.name for row in said if row.setting is None and row.take is not taking.nothing]
    without += [name for name in gunicorn.HOOKS if callable(names.get(name))]
    the_same = {"worker_class"} if names.get("worker_class") in ("gthread", "gevent") else set()  # threads say it
    the_same |= (
        {"secure_scheme_headers"} if names.get("secure_scheme_headers") == {"X-FORWARDED-PROTO": "https"} else set()
    )
    assert [name for name in without if name not in comments(text)] == sorted(the_same)


def test_what_has_no_counterpart_says_why(tmp_path: Path) -> None:
    found = comments(converted("""
worker_class = "uvicorn.workers.UvicornWorker"
worker_tmp_dir = "/dev/shm"
raw_env = ["A=1", "B=2"]
http_protocols = "h2"
wsgi_app = "shop:create_app('live')"
timeot = 5
def post_fork(server, worker): pass
def on_exit(server): pass
""", tmp_path))  # fmt: skip
    assert (
        "# worker_class = 'uvicorn.workers.UvicornWorker': uvicorn.workers.UvicornWorker: applications are WSGI"
        in found
    )
    assert "# worker_tmp_dir = '/dev/shm': Workers are not watched by a file." in found
    assert "name it as env-file: A=1; B=2" in found
    assert "# http_protocols = 'h2': HTTP/2 is not there yet" in found
    assert "a function is called without arguments here" in found
    assert "# timeot (line 7): gunicorn has no such setting, only timeout" in found
    assert "# post_fork (line 8): move it to the application, below @on_fork of spawning.lifecycle; " in found
    assert "# on_exit (line 9): the controller runs no code of the application" in found


def test_what_the_file_computes_is_said(tmp_path: Path) -> None:
    found = converted('import os\nn = 2\nworkers = n * 2 + 1\nbind = ":80"\nif n:\n    bind = ":81"\n', tmp_path)
    assert "processes = 5  # workers, computed in line 3: n * 2 + 1\n" in found
    assert 'bind = [":81"]  # bind, computed in line 6\n' in found


def test_a_setting_that_is_not_here_yet_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = {name: option for name, option in OPTIONS.items() if option.flag != "--pidfile"}
    monkeypatch.setattr("spawning.settings.names.FILE_KEYS", {key_of(name): name for name in without})
    found = converted('pidfile = "/run/shop.pid"', tmp_path)
    assert "# pidfile = '/run/shop.pid': there is no setting pidfile here yet." in found
    assert "pidfile" not in tomllib.loads(found)


def test_a_value_that_cannot_be_used_is_no_key(tmp_path: Path) -> None:
    found = converted('workers = "many"\nbacklog = 0\naccess_log_format = "%(x)s"', tmp_path)
    assert "# backlog = 0 cannot be used: --backlog: 0 is not a whole number" in found
    assert "# workers = 'many' cannot be used: " in found
    assert "# access_log_format = '%(x)s' cannot be used: " in found
    assert {"processes", "backlog", "access-log-format"} & tomllib.loads(found).keys() == set()


def test_variables_that_count_in_both_are_left_to_count(tmp_path: Path) -> None:
    variables = {"PORT": "5000", "WEB_CONCURRENCY": "3", "FORWARDED_ALLOW_IPS": "10.0.0.1"}
    found = tomllib.loads(converted("", tmp_path, "a:b", environ=variables))
    assert {"bind", "processes", "forwarded-allow-ips"} & found.keys() == set()
    assert found["app"] == "a:b"


def test_what_has_control_characters_stays_in_its_comment(tmp_path: Path) -> None:
    found = converted('proc_name = "a\\nworkers = 9\\x00"\nwsgi_app = "a:b" + \\\n "c"', tmp_path)
    assert tomllib.loads(found)["processes"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers = \n", "gunicorn.conf.py, line 1: this is no Python: invalid syntax"),
        (
            "\nimport no_such_module\n",
            "gunicorn.conf.py, line 2, fails: ModuleNotFoundError: No module named 'no_such_",
        ),
        ("def f():\n    exit(3)\nf()\n", "gunicorn.conf.py, line 2, fails: SystemExit: 3"),
        ("a = 1\0", "gunicorn.conf.py"),
    ],
)
def test_a_file_that_cannot_be_executed_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        converted(text, tmp_path)
    assert str(caught.value).startswith(message)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spawning.toml").write_text("what is here already = does not count")
    (tmp_path / "shopsettings.py").write_text("PORT = 81\n")
    (tmp_path / "gunicorn.conf.py").write_text('from shopsettings import PORT\nbind = f":{PORT}"\nprint("hello")\n')
    assert main(["--from-gunicorn", "gunicorn.conf.py", "shop:app"]) == 0
    out, err = capfd.readouterr()
    assert tomllib.loads(out)["bind"] == [":81"]
    assert 'app = "shop:app"' in out
    assert err == "hello\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-gunicorn", "none.py"], "spawn: cannot read none.py: No such file or directory\n"),
        (["--from-gunicorn", "x", "--port", "1"], "spawn: option --from-gunicorn: at most an APP stands beside it"),
        (["--from-gunicorn", "x", "a:b", "c:d"], "spawn: option --from-gunicorn: at most an APP stands beside it"),
        (
            ["--from-gunicorn", "x", "--print-config"],
            "spawn: --print-config and --from-gunicorn: ask one thing at a time",
        ),
        (["--from-gunicorn"], "spawn: Option '--from-gunicorn' requires an argument.\n"),
    ],
)
def test_errors_of_the_command(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capfd.readouterr().err
