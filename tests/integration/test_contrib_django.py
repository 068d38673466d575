"""``manage.py spawn``: a Django project served from its own command."""

import sys
import textwrap
from pathlib import Path

import pytest

from integration.client import Client
from integration.server import Finished, Server

SETTINGS = """
SECRET_KEY = "x"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "spawning.contrib.django"]
STATIC_URL = "static/"
STATICFILES_DIRS = ["{directory}/assets"]
"""
URLS = """
import os

from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("one"))]
"""
MANAGE = """
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
execute_from_command_line(sys.argv)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The directory of a project."""
    (tmp_path / "mysite").mkdir()
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "site.css").write_text("body {}")
    (tmp_path / "mysite" / "__init__.py").touch()
    (tmp_path / "mysite" / "settings.py").write_text(SETTINGS.format(directory=tmp_path))
    (tmp_path / "mysite" / "urls.py").write_text(URLS)
    (tmp_path / "manage.py").write_text(MANAGE)
    return tmp_path


def manage(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", *arguments]


def get(port: int, path: str = "/") -> str:
    with Client(port) as client:
        return client.get(path, "Connection: close").text


def test_it_serves_and_reloads_as_runserver_does(project: Path) -> None:
    with Server(command=manage("spawn", "127.0.0.1:0"), cwd=project) as server:
        assert (get(server.port), get(server.port, "/static/site.css")) == ("one", "body {}")
        assert len(server.workers()) == 1
        (project / "mysite" / "urls.py").write_text(URLS.replace("one", "two"))
        server.wait_for_log(r" reload finished generation=2 ")
        assert get(server.port) == "two"
        (project / "mysite" / "urls.py").write_text(URLS.replace("urlpatterns", "pattern"))
        server.wait_for_log(r" reload refused generation=3 ")
        assert get(server.port) == "two"


def test_from_another_directory_with_options_of_spawn(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    command = [sys.executable, str(project / "manage.py"), "spawn", "0", "--noreload", "--", "-s", "2", "-t", "1"]
    with Server(command=command, cwd=tmp_path_factory.mktemp("elsewhere")) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert get(server.port) == "one"
        assert len(server.workers()) == 2


def test_without_debug_it_does_not_reload(project: Path) -> None:
    settings = project / "mysite" / "settings.py"
    settings.write_text(settings.read_text().replace("DEBUG = True", "DEBUG = False"))
    (project / "spawning.toml").write_text('processes = 1\nport = 0\nserver-header = "file"\n')
    with Server(command=manage("spawn"), cwd=project) as server:
        assert get(server.port) == "one"
        with Client(server.port) as client:
            assert client.get("/")["server"] == "file"
        (project / "mysite" / "urls.py").write_text(URLS.replace("one", "two"))
        assert server.reload()
        assert get(server.port) == "two"
        assert server.log().count("reload started") == 1


@pytest.mark.parametrize(
    ("arguments", "before", "line"),
    [
        (["http://x"], "", "CommandError: 'http://x' is not a port or HOST:PORT, such as 8000, 0.0.0.0:8000 "),
        (["--", "--prot", "1"], "", "CommandError: there is no option --prot; did you mean --port?"),
        (["1", "--", "-p", "2"], "", "spawn: option --port: given twice, as '1' and as '2'"),
        (["--", "-p"], "", "CommandError: Option '-p' requires an argument."),
        ([], "ALLOWED_HOSTS, DEBUG = [], False", "CommandError: You must set settings.ALLOWED_HOSTS if DEBUG is "),
        (["--", "--noreload"], "", "CommandError: there is no option --noreload here: it does not reload"),
    ],
)  # fmt: skip
def test_mistakes(project: Path, arguments: list[str], before: str, line: str) -> None:
    with (project / "mysite" / "settings.py").open("a") as settings:
        settings.write(textwrap.dedent(before))
    with Server(command=manage("spawn", *arguments), cwd=project, ready=False) as server:
        finished = Finished(server.wait(), "", server.log())
    assert finished.status != 0
    (said,) = finished.err.splitlines()
    assert said.startswith(line)


def test_a_file_that_cannot_be_used(project: Path) -> None:
    (project / "spawning.toml").write_text("prot = 1")
    with Server(command=manage("spawn"), cwd=project, ready=False) as server:
        assert server.wait() == 1
        assert server.log() == "CommandError: spawning.toml, line 1: there is no setting 'prot'; did you mean port?"
