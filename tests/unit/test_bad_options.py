"""Every option, in every place where it can be said, with every kind of value that is wrong: one line that names the
option as it was said there, the value, and what would be right.
"""

import datetime
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from spawning.cli import main, parse
from spawning.errors import ConfigError
from spawning.paste_factory import IniFile, server_settings
from spawning.settings import OPTIONS, checked, values
from spawning.settings.show import toml
from spawning.settings.sources import Sources

DATE = datetime.date(2026, 1, 1)
NUMBERS = ["x", "nan", "-inf", "1e999", "12 34", "0x10", "--"]
# What is no value of this kind, as text; "" is tried where a text can be empty at all.
TEXTS: dict[Callable[[Any], Any], list[str]] = {
    values.seconds: [*NUMBERS, "0", "-1", "inf"],
    values.seconds_or_none: [*NUMBERS, "-1", "inf"],
    values.most_memory: [*NUMBERS, "-1", "1.5", "90%", "automatic", "Auto"],
    values.switch: ["perhaps", "2", "-1", "1.0", "truely"],
    values.reload: ["svn", "Dev", "dev git", "0"],
    values.path: ["x", "http://a/", "/a b", "/ä", "/a#b"],
    values.paths: ["x", "/ok\n/a b", "/ä"],
    values.script_name: ["x", "/a b", "/a?b", "/a%20b", "//a"],
    values.statuses: ["ok", "99", "600", "399-200", "200-", "200-299-300", "-200"],
    values.host: ["a b", "http://a", "a:b", "a/b"],
    values.field_value: ["ä", "a\tb", " a", "a "],
    values.field_name: ["a b", "a:b", "ä", "a_b"],
    values.factory: ["flask", "app"],
    values.peers: ["foo", "10.0.0.1/8", "127.0.0.1, x", "1.2.3", "::g"],
    values.host_to_bind: ["0.0.0.0:80", "http://a", "[::1]:80"],
    values.addresses: ["8000", "a b:1", "localhost", "::1:80", ":65536", "unix:", "fd:x", ":1?x", ":1?proxy=2"],
    values.client_certs: ["none", "Required", "2"],
    values.tls_version: ["1.1", "TLSv1.2", "1", "1.20"],
    values.umask: ["8", "0888", "-1", "0x1", "u=rwx", "7777"],
    values.token: ["secret", "eight chars", "pässword"],
    values.statsd_address: ["localhost", "localhost:0", ":8125", "localhost:65536", "unix:"],
    values.statsd_prefix: ["a b", "ä", "a/b"],
    values.statsd_tags: ["a b", "env:live,a=b"],
    values.account: ["a b", "a:", ":a", "a:b:c", "4294967295"],
    values.group: ["a b", "a:b", "4294967295"],
    values.text: [],
    values.access_log_file: ["syslog:a:b", "syslog:,tag=a b", "syslog:,facility=loud", "syslog:,x=y", "syslog:a:70000"],
    values.access_log_format: ["common", "%(nothing)s", "100%", "%h\n%h"],
    values.log_level: ["loud", "warn", "10", "-1"],
    values.form_of_log: ["xml", "JSON"],
    values.optional_text: [],
    values.texts: [],
    values.directories: [],
}
# What is no value of this kind in a file that has types.
TYPED: dict[Callable[[Any], Any], list[Any]] = {
    values.seconds: [True, [], [1], {}, DATE, 0, -1, float("inf"), float("nan"), ""],
    values.seconds_or_none: [False, [], {}, DATE, -0.5, float("inf"), float("nan"), ""],
    values.most_memory: [1.5, True, [], ["auto"], {}, DATE, -1, 2**40 + 1, float("inf"), float("nan"), ""],
    values.switch: [2, -1, 0.5, [], [True], {}, DATE, ""],
    values.reload: [True, 1, [], ["dev"], {}, ""],
    values.path: [1, True, [], ["/"], {}, ""],
    values.paths: [1, True, {}, [1], [""], [["/"]]],
    values.script_name: [1, [], {}, ""],
    values.statuses: [99, 600, 200.5, True, [], {}, ""],
    values.host: [1, [], {}, ""],
    values.field_value: [1, True, [], {}, DATE],
    values.field_name: [1, [], {}, ""],
    values.factory: [1, [], ["django"], {}, ""],
    values.peers: [1, True, {}, [1], [""], ["*", "x"]],
    values.host_to_bind: [1, [], {}, ""],
    values.addresses: [1, True, {}, [1], [""], [["x"]], [":1", "x"], DATE],
    values.client_certs: [1, True, [], {}, ""],
    values.tls_version: [1, 1.1, True, [], {}, ""],
    values.umask: [1, 22, [], {}, "", DATE],
    values.token: [1, True, [], {}, "", "secret"],
    values.statsd_address: [1, True, [], {}, ""],
    values.statsd_prefix: [1, True, [], {}, ""],
    values.statsd_tags: [1, True, {}, [1], [""], ["a=b"]],
    values.text: [1, 1.5, True, [], ["x"], {}, DATE, "", "a\0b"],
    values.access_log_file: [1, 1.5, True, [], ["x"], {}, DATE, "", "a\0b"],
    values.access_log_format: [1, True, [], ["%h"], {}, DATE, ""],
    values.log_level: [10, True, [], ["info"], {}, ""],
    values.form_of_log: [1, True, [], ["json"], {}, ""],
    values.optional_text: [1, 1.5, True, [], ["x"], {}, DATE, "", "a\0b"],
    values.account: [True, 1.5, -1, [], ["x"], {}, DATE, ""],
    values.group: [True, 1.5, [], ["x"], {}, DATE, ""],
    values.texts: [1, True, {}, [1], [""], [["x"]], ["x", 1], DATE],
    values.directories: [1, True, {}, [1], [""], [["x"]], DATE],
}
OPTION_NAMES = [name for name, option in OPTIONS.items() if option.flags]


def wrong_texts(name: str) -> list[str]:
    parse = OPTIONS[name].parse
    if isinstance(parse, values.Integer):
        return [*NUMBERS, "1.5", str(parse.low - 1), str(parse.high + 1)]
    return TEXTS[parse]


def wrong_values(name: str) -> list[Any]:
    parse = OPTIONS[name].parse
    if isinstance(parse, values.Integer):
        return [1.5, True, [], [1], {}, DATE, "", parse.low - 1, parse.high + 1, float("inf"), float("nan")]
    return TYPED[parse]


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        read()
    line = str(caught.value)
    assert line.isprintable(), line
    return line


def says(line: str, origin: str, value: Any) -> None:
    """See that a line names where a value was said, the value (or what in it is wrong), and what would be right."""
    assert line.startswith(f"{origin}: "), line
    told, _, right = line.removeprefix(f"{origin}: ").partition(" is not ")
    assert right, line
    items = value if isinstance(value, list) and value else [value]
    assert all(repr(item) in told for item in items), line


def command_line(directory: Path, *arguments: str) -> object:
    asked = parse(["a:b", *arguments], {}, str(directory))
    assert asked is not None
    return asked.sources.read_all()


def elsewhere(directory: Path, environ: Mapping[str, str] | None = None, **typed: Any) -> object:
    """Read all that is said but for the command line."""
    return Sources({"args": ("a:b",), **typed}, str(directory), environ or {}).read()


EACH = pytest.mark.parametrize("name", OPTION_NAMES)
EACH_OF_A_FILE = pytest.mark.parametrize("name", [name for name in OPTION_NAMES if OPTIONS[name].in_file])


def test_every_kind_of_value_has_its_wrong_ones() -> None:
    kinds = {option.parse for option in OPTIONS.values() if not isinstance(option.parse, values.Integer)}
    assert kinds == set(TEXTS) == set(TYPED)


@pytest.mark.parametrize("name", [name for name in OPTION_NAMES if OPTIONS[name].metavar])
def test_on_the_command_line(tmp_path: Path, name: str) -> None:
    option = OPTIONS[name]
    empty = [] if option.parse is values.field_value else [""]
    for number, value in enumerate([*wrong_texts(name), *empty]):
        for flag in (*option.flags, *option.habits) if number == 0 else option.flags[:1]:
            typed = [f"{flag}={value}"] if flag.startswith("--") else [flag, value]
            says(refused(partial(command_line, tmp_path, *typed)), f"option {option.flag}", value)


@EACH
def test_in_a_variable(tmp_path: Path, name: str) -> None:
    for value in wrong_texts(name):
        for variable in {OPTIONS[name].variable, f"SPAWNING_{name.upper()}"}:
            line = refused(partial(elsewhere, tmp_path, {variable: value}))
            says(line, f"environment variable {variable}", value)


@pytest.mark.parametrize("name", [name for name in OPTION_NAMES if OPTIONS[name].env])
def test_in_a_conventional_variable(tmp_path: Path, name: str) -> None:
    for value in wrong_texts(name):
        line = refused(partial(elsewhere, tmp_path, {OPTIONS[name].env: value}))
        says(line, f"environment variable {OPTIONS[name].env}", value)


@EACH
def test_in_a_file_of_variables(tmp_path: Path, name: str) -> None:
    variable = OPTIONS[name].variable
    for value in wrong_texts(name):
        (tmp_path / ".env").write_text(f"{variable}='{value}'\n")
        if "\n" not in value and name not in ("config", "chdir", "env_file"):
            says(
                refused(partial(command_line, tmp_path, "--env-file", ".env")),
                f"environment variable {variable}",
                value,
            )


@EACH_OF_A_FILE
@pytest.mark.parametrize("file", ["spawning.toml", "pyproject.toml", "other.toml"])
def test_in_a_file(tmp_path: Path, file: str, name: str) -> None:
    option = OPTIONS[name]
    head = "[tool.spawning]\n" if file == "pyproject.toml" else "# the settings\n"
    typed: dict[str, Any] = {"config": "other.toml"} if file == "other.toml" else {}
    for value in wrong_values(name):
        for key in {option.key, option.key.replace("-", "_"), name} if file == "spawning.toml" else {option.key}:
            (tmp_path / file).write_text(f"{head}{key} = {_toml(value)}\n")
            says(refused(partial(elsewhere, tmp_path, **typed)), f"{file}, line 2, {key}", value)


def _toml(value: Any) -> str:
    """Write a value for a file: also of kinds that no setting has."""
    if value == {}:
        return "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return value.isoformat() if isinstance(value, datetime.date) else toml(value)


@EACH_OF_A_FILE
def test_in_an_ini_file(tmp_path: Path, name: str) -> None:
    if name in ("factory", "chdir", "env_file"):
        return  # said before the file is read
    path = tmp_path / "site.ini"
    for value in wrong_texts(name):
        if value != value.strip() or "\n" in value:
            continue  # not to be written in such a file
        for key in {OPTIONS[name].key, name}:
            path.write_text(f"[server:main]\nuse = egg:spawning\n{key} = {value.replace('%', '%%')}\n")
            line = refused(lambda: server_settings(IniFile.named([str(path)])))
            says(line, f"{path} [server:main] {key}", value)


@EACH
def test_from_a_factory(name: str) -> None:
    origin = f"factory mine.config_factory, setting {name}"
    for value in [*wrong_values(name), *wrong_texts(name)]:
        says(refused(partial(checked, {name: value}, {name: origin}, {})), origin, value)


@pytest.mark.parametrize("name", [name for name in OPTION_NAMES if OPTIONS[name].is_switch])
def test_a_switch_takes_no_value(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flag in (*OPTIONS[name].flags, *OPTIONS[name].habits):
        if flag.startswith("--"):
            assert main(["a:b", f"{flag}=1"]) == 2
            assert capsys.readouterr().err == f"spawn: Option '{flag}' does not take a value.\n"
