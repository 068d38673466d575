"""The command line: what it becomes, and the one line that answers each mistake."""

import re
from collections.abc import Mapping

import pytest

from spawning import __version__
from spawning.cli import main, parse
from spawning.errors import ConfigError
from spawning.settings import OPTIONS, Settings
from spawning.settings.sources import Configuration

NOWHERE = "/no/such/directory"  # which has no file of settings


def configuration(*arguments: str, environ: Mapping[str, str] = {}) -> Configuration:
    asked = parse(arguments, environ, NOWHERE)
    assert asked is not None
    return asked.sources.read_all()


def settings(*arguments: str) -> Settings:
    return configuration(*arguments).settings


def test_options_before_and_after_the_application() -> None:
    wanted = settings("--factory=django", "settings", "--port", "9090", "-s", "4", "-t", "100")
    assert wanted.args == ("settings",)
    assert (wanted.factory, wanted.port) == ("spawning.django_factory.config_factory", 9090)
    assert (wanted.num_processes, wanted.threadpool_workers) == (4, 100)
    assert settings("-p9090", "-f", "django", "-t100", "-s4", "settings") == wanted


def test_application_with_middleware_keeps_its_order() -> None:
    assert settings("a:b", "c:d", "-v", "e:f").args == ("a:b", "c:d", "e:f")


def test_pairs_for_the_paste_factory_are_arguments() -> None:
    assert settings("-f", "paste", "development.ini", "key=value").args == ("development.ini", "key=value")


def test_double_dash_ends_the_options() -> None:
    assert settings("--", "a:b", "-v").args == ("a:b", "-v")


def test_repeated_and_switch_options() -> None:
    wanted = settings("a:b", "-w", "templates", "--watch=x.toml", "-r", "dev", "--no-preload", "--no-keepalive")
    assert wanted.watch == ("templates", "x.toml")
    assert (wanted.reload, wanted.no_preload, wanted.no_keepalive, wanted.verbose) == ("dev", True, True, False)


def test_of_a_switch_with_an_opposite_the_last_counts() -> None:
    assert settings("a:b", "--no-auto-rollback", "--auto-rollback").auto_rollback
    assert not settings("a:b", "--auto-rollback", "--no-auto-rollback").auto_rollback


def test_both_spellings_of_the_deadman_timeout() -> None:
    assert settings("a:b", "--deadman", "5").deadman_timeout == settings("a:b", "--deadman_timeout=5").deadman_timeout


def test_what_was_typed_is_explicit_and_has_a_source() -> None:
    found = configuration(
        "a:b", "-p", "80", "--deadman", "5", environ={"PORT": "9", "WEB_CONCURRENCY": "3", "SPAWNING_THREADS": "7"}
    )
    wanted, sources = found.settings, found.sources
    assert set(wanted.explicit) == {"port", "deadman_timeout", "threadpool_workers"}
    assert (wanted.port, wanted.num_processes, wanted.threadpool_workers) == (80, 3, 7)
    assert sources == {
        "args": "argument APP",
        "threadpool_workers": "environment variable SPAWNING_THREADS",
        "port": "option --port",
        "deadman_timeout": "option --deadman_timeout",
        "num_processes": "environment variable WEB_CONCURRENCY",
    }


VALUED = [flag for option in OPTIONS.values() if option.metavar for flag in option.flags]
EMPTY_MEANS_NONE = ["--server-header"]


@pytest.mark.parametrize("flag", [flag for flag in VALUED if flag not in EMPTY_MEANS_NONE])
def test_every_option_of_the_table_refuses_an_empty_value(flag: str) -> None:
    with pytest.raises(ConfigError, match=r"^option --[a-z_-]+: .*''.* is not "):
        settings("a:b", flag, "")


def test_an_empty_server_header_is_none() -> None:
    assert settings("a:b", "--server-header", "").server_header == ""


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.flags and not option.metavar])
def test_every_switch_of_the_table_is_off_until_given_and_those_with_an_opposite_are_on(name: str) -> None:
    option = OPTIONS[name]
    assert getattr(settings("a:b"), name) is bool(option.opposites)
    for flag in option.flags:
        assert getattr(settings("a:b", flag), name) is (flag not in option.opposites)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "no APP given: name the application, such as mysite.wsgi:application"),
        (["-f", "django"], "no APP given: .*with -f django the settings module"),
        (["a:b", "--prot", "80"], r"there is no option --prot; did you mean --port\?"),
        (["a:b", "--port"], "Option '--port' requires an argument"),
        (["a:b", "-p", "http"], "option --port: 'http' is not a whole number from 0 to 65535"),
        (["a:b", "--threads=-1"], "option --threads: '-1' is not a whole number from 0 to 4096"),
        (["a:b", "--deadman", "x"], "option --deadman_timeout: 'x' is not a number of seconds above 0"),
        (["a:b", "--reload", "svn"], "option --reload: 'svn' is not 'dev'"),
        (["a:b", "--verbose=1"], "Option '--verbose' does not take a value"),
        (["a:b", "-f", "flask"], "option --factory: 'flask' is not a dotted path .* or wsgi, django, paste"),
    ],
)
def test_mistake_is_one_line_and_status_2(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match(rf"^spawn: {line}.*\n$", err), err


def test_bad_environment_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^environment variable PORT: 'x' is not a whole number"):
        configuration("a:b", environ={"PORT": "x"})
    with pytest.raises(ConfigError, match=r"^environment variable WEB_CONCURRENCY: '0' is not a whole number from 1"):
        configuration("a:b", environ={"WEB_CONCURRENCY": "0"})


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_option_under_its_group(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: spawn [options] APP [MIDDLEWARE …]")
    for option in OPTIONS.values():
        assert all(flag in text for flag in option.flags)
        assert not option.flags or f"\n{option.group}:\n" in text
    assert "[default: 8080, variable: PORT]" in " ".join(text.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"spawning {__version__} (Python 3.")
