"""The PasteDeploy factory, with a real Pyramid application, both ways: ``spawn -f paste FILE`` and ``pserve FILE``."""

import json
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from integration.server import APPS, OURS, Server
from spawning.errors import ConfigError
from spawning.paste_factory import IniFile, config_factory, server_factory, server_settings, spawn_command
from spawning.settings import as_dict, checked

PSERVE = Path(sys.executable).with_name("pserve")
PYRAMID = "use = call:pyramid_site:main"


class Ini:
    """A directory with an ini file; each test writes the sections it is about."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "development.ini"

    def write(self, server: str = "", more: str = "", app: str = PYRAMID) -> None:
        self.path.write_text(
            f"[app:main]\n{app}\nmessage = from the file\n\n[server:main]\n{server}\n\n{textwrap.dedent(more)}"
        )

    def config(self, *args: str, **typed: Any) -> dict[str, Any]:
        """Run ``config_factory`` with the values given on the command line."""
        values = {**typed, "args": (str(self.path), *args), "explicit": tuple(typed)}
        return config_factory(as_dict(checked(values, environ={})))

    def load(self, *args: str, pages: tuple[str, ...] = ("/",), name: str = "") -> dict[str, Any]:
        """Load the application as a fork server does, and get its pages; what ``load_application.py`` prints."""
        values = json.dumps({"factory": "paste", "args": [f"{self.path}{name}", *args]})
        command = [sys.executable, str(APPS / "load_application.py"), values, *pages]
        done = subprocess.run(command, cwd=APPS, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return {**json.loads(done.stdout), "stderr": done.stderr}


@pytest.fixture
def ini(tmp_path: Path) -> Ini:
    return Ini(tmp_path)


# What the file says -------------------------------------------------------------------------------------------------


def test_settings_of_the_server_section(ini: Ini) -> None:
    ini.write(
        """use = egg:spawning
host = 0.0.0.0
port = %(http_port)s
num_processes = 3
threadpool_workers = 7
keepalive_timeout = 5
no_preload = true
pidfile = %(here)s/run.pid
watch = a.toml
    b.toml""",
        "[DEFAULT]\nhttp_port = 6543\n",
    )
    config = ini.config()
    assert (config["host"], config["port"]) == ("0.0.0.0", 6543)
    assert (config["num_processes"], config["threadpool_workers"], config["keepalive_timeout"]) == (3, 7, 5.0)
    assert config["no_preload"] is True
    assert config["pidfile"] == f"{ini.path.parent}/run.pid"
    assert config["watch"] == ["a.toml", "b.toml", str(ini.path)]
    assert config["app_factory"] == "spawning.paste_factory.app_factory"
    checked(config)


def test_our_section_has_the_names_of_options_too(ini: Ini) -> None:
    ini.write("use = egg:spawning\nprocesses = 3\nrequest-timeout = 5\nmax_requests = 7\nworkers = 1")
    with pytest.raises(ConfigError, match=r"there is no setting workers$"):
        ini.config()
    ini.write("use = egg:spawning\nprocesses = 3\nrequest-timeout = 5\nmax_requests = 7")
    config = ini.config()
    assert (config["num_processes"], config["request_timeout"], config["max_requests"]) == (3, 5.0, 7)


def test_command_line_beats_the_file(ini: Ini) -> None:
    ini.write("port = 6543\nnum_processes = 3")
    config = ini.config(port=7777, watch=("c.toml",))
    assert (config["port"], config["num_processes"]) == (7777, 3)
    assert config["watch"] == ["c.toml", str(ini.path)]


def test_variables_of_the_command_line(ini: Ini) -> None:
    ini.write("port = %(http_port)s")
    assert ini.config("http_port=1234", "empty=", "equation=a=b")["port"] == 1234


def test_global_value_taken_by_name(ini: Ini) -> None:
    ini.write("get port = http_port", "[DEFAULT]\nhttp_port = 6543\n")
    assert ini.config()["port"] == 6543


def test_default_section_is_not_the_server_section(ini: Ini) -> None:
    ini.write("port = 6543", "[DEFAULT]\nverbose = perhaps\nhost = nowhere\n")
    config = ini.config()
    assert (config["host"], config["verbose"]) == ("127.0.0.1", False)


def test_section_of_another_server_gives_what_we_know(ini: Ini) -> None:
    ini.write("use = egg:waitress#main\nlisten = localhost:1\nthreads = 4\nport = 6543")
    config = ini.config()
    assert (config["port"], config["threadpool_workers"]) == (6543, 16)


def test_section_named_like_the_application(ini: Ini) -> None:
    ini.write("port = 1", "[server:other]\nport = 2\n")
    for name, port in (("", 1), ("#main", 1), ("#other", 2), ("#third", 1)):
        assert server_settings(IniFile.named([f"config:{ini.path}{name}"]))["port"] == port


def test_no_server_section(ini: Ini) -> None:
    ini.path.write_text(f"[app:main]\n{PYRAMID}\n")
    assert ini.config()["port"] == 8080


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("port = http", "{} [server:main] port: 'http' is not a whole number from 0 to 65535"),
        (
            "use = egg:spawning\nthread = 4",
            "{} [server:main]: there is no setting thread; did you mean threads?",
        ),
        ("use = egg:spawning\nthreads = many", "{} [server:main] threads: 'many' is not a whole number from 0 to 4096"),
        (
            "use = egg:spawning\nthreads = 4\nthreadpool_workers = 5",
            "{} [server:main]: threadpool_workers says what another name of the setting threadpool_workers has said",
        ),
        ("use = egg:spawning\nchdir = /", "{} [server:main]: there is no setting chdir"),
        ("use = egg:Spawning#main\nprot = 4", "{} [server:main]: there is no setting prot; did you mean port?"),
        ("use = egg:spawning\nfactory = wsgi", "{} [server:main]: there is no setting factory"),
        ("port = %(missing)s", "{} cannot be read: "),
        ("get port = missing", "{} cannot be read: "),
        ("port = 1\nport = 2", "{} cannot be read: "),
    ],
)
def test_mistake_in_the_file(ini: Ini, server: str, message: str) -> None:
    ini.write(server)
    with pytest.raises(ConfigError) as caught:
        ini.config()
    assert str(caught.value).startswith(message.format(ini.path))
    assert "\n" not in str(caught.value)


def test_mistake_in_the_arguments(ini: Ini) -> None:
    ini.write()
    with pytest.raises(ConfigError, match=r"^argument 'port' behind .*development.ini is not of the form key=value$"):
        ini.config("port")
    with pytest.raises(ConfigError, match=r"^there is no ini file nowhere.ini \(looked for /.*/nowhere.ini\)$"):
        IniFile.named(["nowhere.ini"])
    with pytest.raises(ConfigError, match="no ini file given"):
        IniFile.named([])


# What pserve asked for ----------------------------------------------------------------------------------------------


def command(ini: Ini, local_conf: dict[str, str], *typed: str, **variables: str) -> list[str]:
    """Return what follows ``-f paste`` in the command that replaces ``pserve``."""
    global_conf = {"__file__": str(ini.path), "here": str(ini.path.parent), **variables}
    whole = spawn_command(global_conf, local_conf, list(typed))
    start = whole.index("-f")  # before that stand the options of this interpreter, too
    assert whole[0] == sys.executable
    assert whole[start - 3 : start + 2] == ["-P", "-m", "spawning", "-f", "paste"]
    return whole[start + 2 :]


def test_section_is_read_again_from_the_file(ini: Ini) -> None:
    ini.write("use = egg:spawning\nport = 1\nno_preload = on")
    assert command(ini, {"port": "1", "no_preload": "on"}, str(ini.path)) == [str(ini.path)]


def test_variables_go_along(ini: Ini) -> None:
    ini.write("port = %(p)s", "[DEFAULT]\ncolour = green\n")
    assert command(ini, {"port": "5"}, str(ini.path), p="5", colour="green") == [str(ini.path), "p=5"]


def test_application_that_pserve_was_asked_for(ini: Ini) -> None:
    ini.write()
    assert command(ini, {}, f"{ini.path}#other") == [f"{ini.path}#other"]
    assert command(ini, {}, "-n", "other", str(ini.path)) == [f"{ini.path}#other"]
    assert command(ini, {}, "--app-name=other", "-v", str(ini.path)) == [f"{ini.path}#other"]


def test_section_that_pserve_was_asked_for(ini: Ini) -> None:
    ini.write("port = 1")
    other = {"port": "2", "verbose": "yes", "watch": "a\nb"}
    assert command(ini, other, "--server-name", "other", str(ini.path)) == [
        "--port", "2", "--verbose", "--watch", "a", "--watch", "b", str(ini.path),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="setting no_preload is read from"):  # there is no option to switch it off
        command(ini, {"no_preload": "no"}, "--server-name", "other", str(ini.path))


def test_mistake_in_the_section_ends_pserve_with_one_line(ini: Ini, capsys: pytest.CaptureFixture[str]) -> None:
    ini.write("port = http")
    with pytest.raises(SystemExit) as caught:
        server_factory({"__file__": str(ini.path), "here": str(ini.path.parent)}, port="http")
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"spawn: {ini.path} server section port: 'http' is not {_PORT}\n"


_PORT = "a whole number from 0 to 65535"


# The application ----------------------------------------------------------------------------------------------------


def test_pyramid_application(ini: Ini) -> None:
    ini.write("use = egg:spawning")
    assert ini.load()["pages"][0]["body"] == "hello from the file"


def test_another_application_of_the_file(ini: Ini) -> None:
    ini.write(more=f"[app:other]\n{PYRAMID}\nmessage = %(colour)s\n")
    assert ini.load("colour=green", name="#other")["pages"][0]["body"] == "hello green"


def test_directory_with_a_space(tmp_path: Path) -> None:
    directory = tmp_path / "a site"
    directory.mkdir()
    ini = Ini(directory)
    ini.write()
    assert ini.load()["pages"][0]["body"] == "hello from the file"


LOGGING = """
    [loggers]
    keys = root, site
    [handlers]
    keys = console
    [formatters]
    keys = plain
    [logger_root]
    level = WARNING
    handlers = console
    [logger_site]
    level = INFO
    handlers =
    qualname = pyramid_site
    [handler_console]
    class = StreamHandler
    args = (sys.stderr,)
    level = NOTSET
    formatter = plain
    [formatter_plain]
    format = the file's format: %(message)s
"""


def test_logging_as_the_file_says(ini: Ini) -> None:
    ini.write(more=LOGGING)
    assert "the file's format: hello was asked for" in ini.load()["stderr"]
    ini.write(more=LOGGING.replace("keys = plain", "keys = plain, missing"))
    answer = ini.load()
    assert answer["message"].startswith(f"the logging configuration of {ini.path} does not load: KeyError: ")


@pytest.mark.parametrize(
    ("app", "name", "fault"),
    [
        ("use = call:pyramid_site:broken", "main", "RuntimeError: no database"),
        ("use = call:nowhere_to_be_found:main", "main", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("use = egg:nowhere-to-be-found", "main", "PackageNotFoundError: No package metadata was found for"),
        (PYRAMID, "other", "LookupError: No section 'other' (prefixed by "),
    ],
)
def test_application_that_does_not_load(ini: Ini, app: str, name: str, fault: str) -> None:
    ini.write(app=app)
    answer = ini.load(name=f"#{name}")
    assert answer["error"] == "app"
    assert answer["message"].startswith(f"the application {name} of {ini.path} does not load: {fault}")
    assert OURS not in answer["details"], "none of our frames"


def test_served_by_spawn(ini: Ini) -> None:
    ini.write("use = egg:spawning\nport = 1\nnum_processes = 2\nthreadpool_workers = 3")
    with Server("-f", "paste", str(ini.path)) as server:  # --port 0 of the helper beats the file
        assert server.wait_for_log(r"ready .* workers=2 threads=3")
        assert _page(server) == "hello from the file"


def test_served_by_pserve_and_reloaded(ini: Ini) -> None:
    ini.write("use = egg:spawning\nport = 0\nnum_processes = 2")
    installed = {"PYTHONPATH": str(APPS)}  # pserve itself imports the application, and not from the current directory
    with Server(command=[str(PSERVE), str(ini.path), "colour=green"], env=installed) as server:
        assert _page(server) == "hello from the file"
        ini.path.write_text(ini.path.read_text().replace("from the file", "again in %(colour)s"))
        assert server.reload()
        assert _page(server) == "hello again in green"


def _page(server: Server) -> str:
    with urllib.request.urlopen(server.url, timeout=10) as response:
        text: str = response.read().decode()
    return text
