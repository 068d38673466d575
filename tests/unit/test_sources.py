"""Where settings are said, which of several sources counts, and what is wrong with them, by file, line and key."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from spawning.errors import ConfigError
from spawning.ipc.control import DIRECTORY
from spawning.ipc.succession import CHECK, SUCCEED, TYPED_IN
from spawning.net.wanted import wanted
from spawning.settings import OPTIONS, Settings
from spawning.settings.files import find, read, read_environment
from spawning.settings.names import FILE_KEYS, VARIABLES
from spawning.settings.show import as_toml
from spawning.settings.sources import NOT_SETTINGS, Configuration, Sources


def configuration(directory: Path, environ: Mapping[str, str] | None = None, **typed: Any) -> Configuration:
    return Sources(typed, str(directory), environ or {}).read()


def listening(given: Configuration, **factory: Any) -> str:
    """Return where a server listens whose factory gives some settings back changed."""
    settings = dataclasses.replace(given.settings, **factory)
    return " ".join(each.address.text for each in wanted(settings, given.behind_the_factory(settings), inherited=False))


def write(directory: Path, text: str, name: str = "spawning.toml") -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# Precedence ----------------------------------------------------------------------------------------------------------

LAYERS = [
    ("typed", "option --threads"),
    ("variable", "environment variable SPAWNING_THREADS"),
    ("file", "spawning.toml, line 2, threads"),
    (None, None),
]


@pytest.mark.parametrize("first", range(len(LAYERS)), ids=[str(name) for name, _ in LAYERS])
def test_what_is_said_nearest_counts(tmp_path: Path, first: int) -> None:
    """Of the layers from `first` on, the first one."""
    present = {name for name, _ in LAYERS[first:]}
    write(tmp_path, "# one\nthreads = 3\n" if "file" in present else "")
    environ = {"SPAWNING_THREADS": "2"} if "variable" in present else {}
    typed = {"threadpool_workers": "1"} if "typed" in present else {}
    found = configuration(tmp_path, environ, **typed)
    assert found.settings.threadpool_workers == [1, 2, 3, 16][first]
    assert found.sources.get("threadpool_workers") == LAYERS[first][1]
    assert ("threadpool_workers" in found.settings.explicit) is (first < 3)


def test_a_conventional_variable_is_below_the_file_and_not_explicit(tmp_path: Path) -> None:
    environ = {"WEB_CONCURRENCY": "5"}
    alone = configuration(tmp_path, environ)
    assert (alone.settings.num_processes, alone.settings.explicit) == (5, ())
    assert alone.sources == {"num_processes": "environment variable WEB_CONCURRENCY"}
    write(tmp_path, "processes = 2")
    assert configuration(tmp_path, environ).settings.num_processes == 2


@pytest.mark.parametrize(
    ("environ", "typed", "address"),
    [
        ({}, {}, "127.0.0.1:8080"),
        ({"PORT": "5000"}, {}, ":5000"),
        ({"PORT": ""}, {}, "127.0.0.1:8080"),
        ({"PORT": "5000"}, {"port": "80"}, "127.0.0.1:80"),
        ({"PORT": "5000"}, {"host": "::1"}, "[::1]:5000"),
        ({"PORT": "5000", "SPAWNING_HOST": "10.0.0.1"}, {}, "10.0.0.1:5000"),
        ({"PORT": "5000", "SPAWNING_PORT": "81"}, {}, "127.0.0.1:81"),
        ({"PORT": "5000", "SPAWNING_BIND": ":81"}, {}, ":81"),
    ],
)
def test_port_from_the_environment_binds_every_address(
    tmp_path: Path, environ: dict[str, str], typed: dict[str, str], address: str
) -> None:
    assert listening(configuration(tmp_path, environ, **typed)) == address


def test_a_factory_that_chooses_the_port_chooses_the_address_too(tmp_path: Path) -> None:
    assert listening(configuration(tmp_path, {"PORT": "5000"})) == ":5000"
    assert listening(configuration(tmp_path, {"PORT": "5000"}), port=6543) == "127.0.0.1:6543"
    assert listening(configuration(tmp_path, {"PORT": "5000"}), port=6543, host="::") == "[::]:6543"
    assert listening(configuration(tmp_path, {"PORT": "5000"}, host="0.0.0.0"), port=6543) == "0.0.0.0:6543"


@pytest.mark.parametrize(
    ("environ", "typed"),
    [
        ({}, {}),
        ({"PORT": "5000"}, {}),
        ({"PORT": "5000"}, {"host": "::1"}),
        ({"PORT": "5000"}, {"bind": (":1",)}),
        ({}, {"bind": (":1", "unix:/s?mode=600")}),
        ({}, {"bind": (":1",), "port": "80"}),
        ({}, {"bind": (":1",), "host": "localhost"}),
    ],
)
def test_what_is_shown_listens_where_it_does(tmp_path: Path, environ: dict[str, str], typed: dict[str, Any]) -> None:
    given = configuration(tmp_path, environ, **typed)
    write(tmp_path, as_toml(given))
    assert listening(configuration(tmp_path)) == listening(given)


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["max-requests", "max_requests", '"max-requests"'])
def test_dashes_and_underscores_are_the_same(tmp_path: Path, key: str) -> None:
    write(tmp_path, f"{key} = 7")
    assert configuration(tmp_path).settings.max_requests == 7


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.flags])
def test_every_option_has_a_key_and_a_variable_by_both_of_its_names(name: str) -> None:
    option = OPTIONS[name]
    assert VARIABLES[option.variable] == VARIABLES[f"SPAWNING_{name.upper()}"] == name
    if option.in_file:
        assert FILE_KEYS[option.key] == FILE_KEYS[name.replace("_", "-")] == name


def test_a_short_option_is_no_key(tmp_path: Path) -> None:
    write(tmp_path, "p = 80")
    with pytest.raises(ConfigError, match=r"^spawning.toml, line 1: there is no setting 'p'$"):
        configuration(tmp_path)


def test_the_variables_that_are_no_settings_are_those_that_others_read() -> None:
    assert {DIRECTORY, SUCCEED, CHECK, TYPED_IN} == NOT_SETTINGS
    assert not NOT_SETTINGS & set(VARIABLES)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SPAWNING_PORT", "tcp://10.0.0.1:80"),
        ("SPAWNING_WEB_PORT", "tcp://10.0.0.1:80"),
        ("SPAWNING_SERVICE_HOST", "10.0.0.1"),
        ("SPAWNING_SERVICE_PORT_HTTP", "80"),
        ("SPAWNING_WEB_SERVICE_PORT", "80"),
        ("SPAWNING_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("SPAWNING_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("SPAWNING_ENV_PATH", "/bin"),
        ("SPAWNING_NAME", "/web/spawning"),
        ("SPAWNING_CONTROL_DIRECTORY", "/run"),
        ("SPAWNING_THREADZ", ""),
    ],
)
def test_variables_of_others_are_left_alone(tmp_path: Path, variable: str, value: str) -> None:
    assert configuration(tmp_path, {variable: value}).settings == Settings()


# The application -----------------------------------------------------------------------------------------------------


def test_the_application_of_a_file(tmp_path: Path) -> None:
    write(tmp_path, 'app = "a:b"\nmiddleware = ["c:d", "e:f"]')
    assert configuration(tmp_path).settings.args == ("a:b", "c:d", "e:f")
    assert configuration(tmp_path, {"SPAWNING_APP": "x:y"}).settings.args == ("x:y", "c:d", "e:f")
    assert configuration(tmp_path, {"SPAWNING_MIDDLEWARE": "m:n o:p"}).settings.args == ("a:b", "m:n", "o:p")
    assert configuration(tmp_path, args=("x:y",)).settings.args == ("x:y",)
    assert configuration(tmp_path, args=("x:y", "m:n")).settings.args == ("x:y", "m:n")


def test_the_own_name_of_the_application_is_a_list(tmp_path: Path) -> None:
    write(tmp_path, 'factory = "paste"\nargs = ["development.ini", "debug=1"]')
    assert configuration(tmp_path).settings.args == ("development.ini", "debug=1")
    assert configuration(tmp_path, {"SPAWNING_ARGS": "a.ini b=1"}).settings.args == ("a.ini", "b=1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('app = ""', "spawning.toml, line 1, app: '' is not a text with at least one character, and without NUL"),
        ("app = 1", "spawning.toml, line 1, app: 1 is not a text with at least one character, and without NUL"),
        (
            'app = ["a:b"]',
            "spawning.toml, line 1, app: ['a:b'] is not a text with at least one character, and without NUL",
        ),
        ('app = "a:b"\nmiddleware = 3', "spawning.toml, line 2, middleware: 3 is not a list of texts"),
        ('middleware = ["a:b"]', "spawning.toml, line 1, middleware: there is no APP that it could wrap"),
        ('app = "a"\nargs = ["b"]', "spawning.toml, line 2, args: spawning.toml, line 1, app has said it already"),
    ],
)
def test_an_application_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        configuration(tmp_path)
    assert str(caught.value) == message


def test_no_application_anywhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no APP given: .* or as app in spawning.toml$"):
        Sources({"args": ()}, str(tmp_path), {}).read_all()


# Files ---------------------------------------------------------------------------------------------------------------


def test_which_file(tmp_path: Path) -> None:
    assert find(str(tmp_path)) is None
    project = write(tmp_path, '[project]\nname = "x"\n', "pyproject.toml")
    assert find(str(tmp_path)) is None
    project.write_text("[tool.spawning]\nport = 1\n")
    assert find(str(tmp_path)) == str(project)
    own = write(tmp_path, "port = 2")
    assert find(str(tmp_path)) == str(own)
    found = configuration(tmp_path)
    assert (found.settings.port, found.settings.config) == (2, str(own))


@pytest.mark.parametrize(
    "text",
    [
        '[project]\nname = "x"\n\n[tool.spawning]\nport = "x"\n',
        '# tool.spawning\n[tool.other]\nport = 1\n[tool]\nspawning.port = "x"\n',
        '[tool.other]\nlist = [\n  1,\n]\ntool.spawning.port = 1\n[tool."spawning"]\n\n\nport = "x"',
    ],
)
def test_the_table_of_a_project(tmp_path: Path, text: str) -> None:
    write(tmp_path, text, "pyproject.toml")
    line = next(number for number, line in enumerate(text.splitlines(), 1) if '"x"' in line and "port" in line)
    with pytest.raises(ConfigError, match=rf"^pyproject.toml, line {line}, port: 'x' is not a whole number"):
        configuration(tmp_path)


def test_a_project_that_is_no_toml_matters_only_if_it_has_our_table(tmp_path: Path) -> None:
    write(tmp_path, "[project\n", "pyproject.toml")
    assert configuration(tmp_path).settings == Settings()
    write(tmp_path, "[tool.spawning]\n[project\n", "pyproject.toml")
    with pytest.raises(ConfigError, match=r"^pyproject.toml is not TOML: .*line 2"):
        configuration(tmp_path)


def test_a_file_that_is_named_takes_the_place_of_the_others(tmp_path: Path) -> None:
    write(tmp_path, "port = 1")
    write(tmp_path, "port = 2", "conf/other.toml")
    write(tmp_path, "[tool.spawning]\nport = 3\n", "project/pyproject.toml")
    assert configuration(tmp_path, config="conf/other.toml").settings.port == 2
    assert configuration(tmp_path, {"SPAWNING_CONFIG": "conf/other.toml"}).settings.port == 2
    assert configuration(tmp_path, config="project/pyproject.toml").settings.port == 3
    with pytest.raises(ConfigError, match=r"^option --config: there is no file conf/none.toml$"):
        configuration(tmp_path, config="conf/none.toml")
    with pytest.raises(ConfigError, match=r"^environment variable SPAWNING_CONFIG: there is no file conf$"):
        configuration(tmp_path, {"SPAWNING_CONFIG": "conf"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("spawning.toml", "port = \n", "spawning.toml is not TOML: Invalid value (at line 1, column 8)"),
        ("spawning.toml", "\n\nprot = 1", "spawning.toml, line 3: there is no setting 'prot'; did you mean port?"),
        ("spawning.toml", "Threads = 1", "spawning.toml, line 1: there is no setting 'Threads'; did you mean threads?"),
        ("spawning.toml", "xyzzy = 1", "spawning.toml, line 1: there is no setting 'xyzzy'"),
        ("spawning.toml", "[server]\nport = 1", "spawning.toml, line 1: there is no setting 'server'"),
        ("spawning.toml", "a.b = 1", "spawning.toml, line 1: there is no setting 'a'"),
        ("spawning.toml", "explicit = []", "spawning.toml, line 1: there is no setting 'explicit'"),
        ("spawning.toml", 'config = "x"', "spawning.toml, line 1: there is no setting 'config'"),
        ("spawning.toml", "no-auto-rollback = true", "spawning.toml, line 1: there is no setting 'no-auto-rollback'"),
        (
            "spawning.toml", "processes = 1\nnum_processes = 2",
            "spawning.toml, line 2, num_processes: spawning.toml, line 1, processes has said it already",
        ),
        ("spawning.toml", "port = 1\nport = 2", "spawning.toml is not TOML: Cannot overwrite a value"),
        (
            "spawning.toml", 'watch = [\n  "a",\n  # x,\n  "b",\n]\nserver-header = """\na,\n"""\nport = "x"',
            "spawning.toml, line 9, port: 'x' is not a whole number",
        ),
        ("spawning.toml", 'x = "\u2028"\n', "spawning.toml, line 1: there is no setting 'x'"),
        ("spawning.toml", 'server-header = "\u2028"\nxx = 1\n', "spawning.toml, line 2: there is no setting 'xx'"),
        ("other.toml", "[tool.spawning]\nport = 1", "other.toml, line 1: there is no setting 'tool'"),
        ("conf.py", "bind = 1", "conf.py is Python; a file of settings is TOML, such as spawning.toml"),
        ("site.ini", "[server:main]", "site.ini is an ini file; write -f paste site.ini"),
        ("pyproject.toml", "[project]", "pyproject.toml has no table [tool.spawning]"),
        ("spawning.toml", "x = " + "[" * 5000, "spawning.toml is not TOML"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, text: str, message: str) -> None:
    write(tmp_path, text, name)
    with pytest.raises(ConfigError) as caught:
        configuration(tmp_path, config=name)
    assert str(caught.value).startswith(message), caught.value
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "spawning.toml").write_bytes(b'app = "\xff"')
    with pytest.raises(ConfigError, match=r"^cannot read spawning.toml: byte 7 is not UTF-8$"):
        configuration(tmp_path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "spawning.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^cannot read spawning.toml: Is a directory$"):
        configuration(tmp_path)


def test_long_lists_are_read_once(tmp_path: Path) -> None:
    """Lines are found by parsing each statement; a list of many lines must not be parsed for each of them."""
    items = "".join(f'  "/{number}",\n' for number in range(20_000))
    path = write(tmp_path, f"health-path = [\n{items}]\nport = 'x'\n")
    assert read(str(path), "f")["port"].origin == "f, line 20003, port"


def test_the_example_can_be_used(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "spawning.toml"
    write(tmp_path, example.read_text().replace("/etc/mysite/environment", str(write(tmp_path, "A=1", "environment"))))
    found = configuration(tmp_path).settings
    assert (found.args, found.num_processes, found.request_timeout) == (("mysite.wsgi:application",), 4, 60.0)


# Directories ---------------------------------------------------------------------------------------------------------


def test_a_directory_on_the_command_line_is_where_the_file_is(tmp_path: Path) -> None:
    write(tmp_path, "port = 1")
    write(tmp_path, "port = 2", "site/spawning.toml")
    found = configuration(tmp_path, chdir="site").settings
    assert (found.port, found.chdir) == (2, str(tmp_path / "site"))
    assert configuration(tmp_path, {"SPAWNING_CHDIR": "site"}).settings == found.__class__(
        port=2, chdir=str(tmp_path / "site"), config=str(tmp_path / "site/spawning.toml"), explicit=found.explicit
    )
    named = configuration(tmp_path, chdir="site", config="spawning.toml").settings
    assert (named.port, named.chdir) == (1, str(tmp_path / "site"))


def test_a_directory_in_the_file_leads_to_no_other_file(tmp_path: Path) -> None:
    write(tmp_path, 'chdir = "site"\nport = 1')
    write(tmp_path, "port = 2", "site/spawning.toml")
    found = configuration(tmp_path).settings
    assert (found.port, found.chdir) == (1, str(tmp_path / "site"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chdir", "{at}: {directory}/none is not a directory"),
        ("env_file", "{at}: there is no file none"),
        ("pythonpath", "{at}: none does not exist"),
    ],
)
@pytest.mark.parametrize("source", ["typed", "variable", "file"])
def test_places_that_are_not_there(tmp_path: Path, name: str, message: str, source: str) -> None:
    option = OPTIONS[name]
    at = {
        "typed": f"option {option.flag}",
        "variable": f"environment variable {option.variable}",
        "file": f"spawning.toml, line 1, {option.key}",
    }[source]
    write(tmp_path, f'{option.key} = "none"' if source == "file" else "")
    environ = {option.variable: "none"} if source == "variable" else {}
    typed = {name: ("none",) if name == "pythonpath" else "none"} if source == "typed" else {}
    with pytest.raises(ConfigError) as caught:
        configuration(tmp_path, environ, **typed)
    assert str(caught.value) == message.format(at=at, directory=tmp_path)


# Files of variables --------------------------------------------------------------------------------------------------


def test_lines_of_a_file_of_variables(tmp_path: Path) -> None:
    lines = [
        "# comment", "", "A=1", "export B = two words   # comment", "C='si # ng\"le'",
        'D="do\\n\\"u\\\\ble" # comment', "E=", "F=a#b", "G=x\u2028y", "  H=$A",
    ]  # fmt: skip
    path = write(tmp_path, "\n".join(lines), ".env")
    found = {
        "A": "1", "B": "two words", "C": 'si # ng"le', "D": 'do\n"u\\ble', "E": "", "F": "a#b", "G": "x\u2028y",
        "H": "$A",
    }  # fmt: skip
    assert read_environment(str(path), ".env") == found


@pytest.mark.parametrize("line", ["A", "A B=1", "1A=1", "A='x", 'A="x', "A='x'y", "=1", "A=\0", "A-B=1"])
def test_a_line_that_is_no_assignment(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"X=1\n{line}\n", ".env")
    with pytest.raises(ConfigError) as caught:
        read_environment(str(path), ".env")
    assert str(caught.value) == f".env, line 2: {line!r} is not of the form NAME=VALUE"


def test_variables_of_a_file_count_unless_they_are_set(tmp_path: Path) -> None:
    write(tmp_path, "SPAWNING_THREADS=2\nPORT=5000\nWEB_CONCURRENCY=3\nSPAWNING_APP=a:b\n", ".env")
    given = configuration(tmp_path, {"WEB_CONCURRENCY": "4"}, env_file=".env")
    found = given.settings
    assert (found.threadpool_workers, listening(given), found.num_processes) == (2, ":5000", 4)
    assert found.args == ("a:b",)
    assert configuration(tmp_path, env_file=".env", threadpool_workers="9").settings.threadpool_workers == 9


@pytest.mark.parametrize("name", ["SPAWNING_CONFIG", "SPAWNING_CHDIR", "SPAWNING_ENV_FILE"])
def test_variables_that_come_too_late(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{name}=x\n", ".env")
    with pytest.raises(ConfigError, match=rf"^.env: {name} is needed before this file is read; set it elsewhere$"):
        configuration(tmp_path, env_file=".env")


def test_the_file_of_variables_is_where_the_service_is(tmp_path: Path) -> None:
    write(tmp_path, "SPAWNING_THREADS=2\n", "site/.env")
    write(tmp_path, 'chdir = "site"\nenv-file = ".env"')
    assert configuration(tmp_path).settings.threadpool_workers == 2
