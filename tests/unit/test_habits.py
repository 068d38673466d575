"""Words at the prompt: what people type who come from elsewhere, or by mistake, and what they are told."""

import re
from pathlib import Path

import pytest

from spawning.cli import main, parse
from spawning.ctl import main as ctl
from spawning.ctl import which_server_first
from spawning.errors import ConfigError
from spawning.habits import ELSEWHERE, reload_alone
from spawning.settings import OPTIONS, Settings

NOWHERE = "/no/such/directory"
FLAGS = {flag for option in OPTIONS.values() for flag in (*option.flags, *option.habits)}


def settings(*arguments: str) -> Settings:
    asked = parse(arguments, {}, NOWHERE)
    assert asked is not None
    return asked.sources.read_all().settings


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        (["--workers", "4"], "num_processes", 4),
        (["--workers=4"], "num_processes", 4),
        (["--graceful-timeout", "9"], "deadman_timeout", 9.0),
        (["--access-logfile", "x.log"], "access_log_file", "x.log"),
        (["--preload"], "no_preload", False),
        (["-b", ":80"], "bind", (":80",)),
        (["--bind", "unix:s"], "bind", ("unix:s",)),
        (["-D"], "daemonize", True),
        (["--chdir", "/"], "chdir", "/"),
        (["--threads", "5"], "threadpool_workers", 5),
        (["--max-requests", "5"], "max_requests", 5),
        (["--forwarded-allow-ips", "*"], "forwarded_allow_ips", ("*",)),
        (["--reload"], "reload", "dev"),
        (["-r"], "reload", "dev"),
    ],
)
def test_what_means_the_same_is_taken(typed: list[str], name: str, value: object) -> None:
    assert getattr(settings(*typed, "a:b"), name) == value
    assert getattr(settings("a:b", *typed), name) == value
    assert settings(*typed, "a:b").args == ("a:b",)
    assert settings(*typed, "-v", "a:b").explicit == tuple(sorted([name, "verbose"], key=list(OPTIONS).index))


@pytest.mark.parametrize(
    "typed", [["-c", "a:b"], ["a:b", "-c"], ["-c", "-v", "a:b"], ["-vc", "a:b"], ["--coverage", "a:b"]]
)
def test_the_letter_of_the_original_for_coverage(typed: list[str]) -> None:
    found = settings(*typed)
    assert (found.coverage, found.args) == (True, ("a:b",))
    assert not settings("a:b", "--", "-c", "x.py").coverage


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--reload", "hello:app"], ["--reload", "dev", "hello:app"]),
        (["--reload", "mysite.wsgi"], ["--reload", "dev", "mysite.wsgi"]),
        (["--reload", "./app.py"], ["--reload", "dev", "./app.py"]),
        (["hello:app", "-r"], ["hello:app", "-r", "dev"]),
        (["-r", "-v", "a:b"], ["-r", "dev", "-v", "a:b"]),
        (["--reload", "git", "a:b"], ["--reload", "git", "a:b"]),
        (["--reload", "svn", "a:b"], ["--reload", "svn", "a:b"]),
        (["--reload=git", "a:b"], ["--reload=git", "a:b"]),
        (["--", "--reload"], ["--", "--reload"]),
        ([], []),
    ],
)
def test_reload_without_a_mode(typed: list[str], meant: list[str]) -> None:
    assert reload_alone(typed) == meant


@pytest.mark.parametrize("file", ["gunicorn.conf.py", "file:conf", "python:site.conf", "/etc/site/conf", "site.toml"])
def test_what_looks_like_a_file_of_settings_is_not_taken_for_an_application(file: str) -> None:
    line = (
        f"option -c is --coverage here: a file of settings is --config FILE, and TOML; {file} could be the application"
    )
    for typed in (["-c", file], [f"-c{file}"], ["-v", "-c", file]):
        with pytest.raises(ConfigError, match=f"^{re.escape(line)} as well: write --coverage for that$"):
            settings(*typed, "a:b")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["-w", "4", "a:b"], "option --watch: '4' cannot be meant: the number of workers is -s 4, and -w a file to"),
        (["-p", "run/x.pid", "a:b"], "option --port: 'run/x.pid' cannot be meant: .* --pidfile run/x.pid"),
        (["--pythonpath", "a,b", "a:b"], "option --pythonpath: 'a,b' cannot be meant: directories are separated by"),
        (["-k", "gevent", "a:b"], "there is no option -k here: there are no classes of workers"),
        (["-kgevent", "a:b"], "there is no option -k here: there are no classes of workers: .*-t 0"),
        (["--gevent", "100", "a:b"], "there is no option --gevent here: write -t 0 --max-green N"),
        (["--max-green", "5", "a:b"], "option --max-green has no effect without -t 0$"),
        (["--worker-class=gthread", "a:b"], "there is no option --worker-class here: "),
        (["--config", "gunicorn.conf.py", "a:b"], "option --config: there is no file gunicorn.conf.py"),
        (["--timeout", "30", "a:b"], "there is no option --timeout here: write --request-timeout SECONDS"),
        (["--log-level", "loud", "a:b"], "option --log-level: 'loud' is not a level: debug, info, warning, error$"),
        (["--log-level", "error", "-v", "a:b"], "option --log-level contradicts --verbose$"),
        (["--ssl-keyfile-password", "x", "a:b"], "there is no option --ssl-keyfile-password here: others can read arg"),
        (["--worker-tmp-dir", "x", "a:b"], "there is no option --worker-tmp-dir here: "),
        (["--error-logfile", "x", "a:b"], "there is no option --error-logfile here: errors are logged to stderr"),
        (["--xyzzy", "a:b"], "there is no option --xyzzy, see spawn --help$"),
        (["-X", "a:b"], "there is no option -X, see spawn --help$"),
        (["--prot", "80", "a:b"], r"there is no option --prot; did you mean --port\?$"),
        (["--check-confg"], r"there is no option --check-confg; did you mean --check-config\?$"),
        (["--port", "a:b"], "option --port: 'a:b' is not a whole number"),
        ([""], r"argument APP: '' is not a text with at least one character, and without NUL$"),
        (["a:b", ""], r"argument APP: '' is not a text with at least one character, and without NUL$"),
        (["--forwarded-allow-ips", "foo", "a:b"], "option --forwarded-allow-ips: 'foo' is not a list of addresses"),
        (["--host", "0.0.0.0:8000", "a:b"], "option --host: '0.0.0.0:8000' is not a host alone: write --host 0.0"),
        (["-i", "::1", "-i", "127.0.0.1", "a:b"], "option --host: given twice, as '::1' and as '127.0.0.1'; "),
        (["-p", "1", "--port=2", "a:b"], "option --port: given twice, as '1' and as '2'; "),
        (["--env-file", "a", "--env-file", "b", "a:b"], "option --env-file: given twice, as 'a' and as 'b'; all"),
        (["--reload"], "no APP given: "),
        (["--print-config", "--check-config"], "--check-config and --print-config: ask one thing at a time$"),
        (["-w", "x", "a:b"], "option --watch has no effect without --reload dev$"),
        (["-w", "x", "-r", "git", "a:b"], "option --watch has no effect without --reload dev$"),
        (["--max-requests-jitter", "5", "a:b"], "option --max-requests-jitter has no effect without --max-requests$"),
        (["--ready-status", "204", "a:b"], "option --ready-status has no effect without --ready-path$"),
        (["--ready-host", "a", "-f", "django", "a.b"], "option --ready-host has no effect without --ready-path$"),
        (["--no-keepalive", "--keepalive-timeout", "5", "a:b"], "option --keepalive-timeout contradicts --no-keepal"),
        (["--status-token", "long-enough", "a:b"], "option --status-token has no effect without --status$"),
        (["--status-host", "::1", "--status", "9", "a:b"], "option --status-host has no effect without --status-port$"),
        (["--statsd-prefix", "shop", "a:b"], "option --statsd-prefix has no effect without --statsd-host$"),
        (["--statsd-tags", "a:b", "a:b"], "option --statsd-tags has no effect without --statsd-host$"),
        (["--chdir", "/no/such", "a:b"], "option --chdir: /no/such is not a directory$"),
    ],
)  # fmt: skip
def test_what_does_not_is_answered_in_one_line(
    typed: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(typed) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match(rf"^spawn: {line}", err), err
    assert err.count("\n") == 1


def test_answers_are_for_options_that_do_not_exist_and_name_those_that_do() -> None:
    assert not set(ELSEWHERE) & FLAGS
    for flag, answer in ELSEWHERE.items():
        foreign = {"--reuid", "--regid", "--init-groups"}
        assert set(re.findall(r"--[a-z_-]+", answer)) - foreign <= FLAGS, flag


def test_several_values_of_what_may_be_repeated_are_kept() -> None:
    wanted = settings("a:b", "-r", "dev", "-w", "x", "-w", "y", "--pythonpath", "/", "--pythonpath", "/:/")
    assert (wanted.watch, wanted.pythonpath) == (("x", "y"), ("/", "/", "/"))


@pytest.mark.parametrize(
    ("typed", "environ"),
    [
        (["-w", "x", "-f", "paste", "a.ini"], {}),  # whose file may say reload = dev
        (["-w", "x", "-f", "mine.factory", "a"], {}),
        (["-w", "x", "a:b"], {"SPAWNING_RELOAD": "dev"}),
        (["a:b"], {"SPAWNING_WATCH": "x", "SPAWNING_MAX_REQUESTS_JITTER": "5"}),
        (["--max-requests-jitter", "0", "--no-keepalive", "--keepalive-timeout", "0", "a:b"], {}),
    ],
)
def test_what_may_have_an_effect_is_taken(typed: list[str], environ: dict[str, str]) -> None:
    asked = parse(typed, environ, NOWHERE)
    assert asked is not None
    assert asked.sources.read_all()


def test_of_other_options_the_last_one_counts() -> None:
    """A script may have its own before what it is given."""
    assert settings("a:b", "-l", "/dev/null", "--access-logfile", "b").access_log_file == "b"
    assert settings("a:b", "-t", "4", "-t", "2").threadpool_workers == 2
    assert settings("a:b", "-s", "4", "--workers", "2").num_processes == 2


# spawnctl ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["status", "--address", "a:1"], ["--address", "a:1", "status"]),
        (["status", "-a", "a:1", "--json"], ["-a", "a:1", "status", "--json"]),
        (["status", "--json", "--address=a:1"], ["--address=a:1", "status", "--json"]),
        (["-S", "x", "stacks", "1.1"], ["-S", "x", "stacks", "1.1"]),
        (["stacks", "1.1", "--socket", "x"], ["--socket", "x", "stacks", "1.1"]),
        (["stacks", "--", "--socket", "x"], ["stacks", "--", "--socket", "x"]),
        (["status", "-a"], ["-a", "status"]),
    ],
)
def test_which_server_is_said_anywhere(typed: list[str], meant: list[str]) -> None:
    assert which_server_first(typed) == meant


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["restart"], "there is no command restart: reload loads new code without a pause"),
        (["start"], "there is no command start: the command spawn starts a server"),
        ([], "no command given: there are config, console, log, logs, reload, .*status"),
        (["--address", "a:1"], "no command given: there are config, "),
        (["xyzzy"], "there is no command xyzzy: there are config, console, log, logs, reload, .*status"),
        (["status", "--address", "x"], "option --address: 'x' is not HOST:PORT"),
        (["status", "--socket", "/no/such/socket"], "no server is running: /no/such/socket does not exist"),
    ],
)
def test_spawnctl_answers_in_one_line(typed: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(typed) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match(rf"^spawnctl: {line}", err), err
    assert err.count("\n") == 1
