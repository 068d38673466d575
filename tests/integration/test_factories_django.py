"""The Django factory on small real sites: what serves, and what is refused with which words.

Each site is loaded in an interpreter of its own, as a fork server does; Django can be set up once a process.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from integration.server import APPS, OURS, Server, run

SETTINGS = """
    SECRET_KEY = "for the tests"
    ALLOWED_HOSTS = ["*"]
    ROOT_URLCONF = "urls"
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
    USE_TZ = True
"""
URLS = """
    from django.http import HttpResponse
    from django.urls import path

    def hello(request):
        return HttpResponse(f"hello from {request.path}")

    urlpatterns = [path("hello/", hello)]
"""
STATIC = """
    DEBUG = True
    STATIC_URL = "static/"
    INSTALLED_APPS = ["django.contrib.staticfiles"]
    STATICFILES_DIRS = ["assets"]
"""


class Site:
    """A directory with a Django site of a few lines."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.write("settings.py", SETTINGS)
        self.write("urls.py", URLS)

    def write(self, name: str, text: str) -> None:
        file = self.directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))

    def add_settings(self, text: str) -> None:
        self.write("settings.py", textwrap.dedent(SETTINGS) + textwrap.dedent(text))

    def load(self, *paths: str, args: tuple[str, ...] = ("settings",)) -> dict[str, Any]:
        """Load the site as a fork server does, and get the pages; gives what ``load_application.py`` prints."""
        values = json.dumps({"factory": "django", "args": args})
        command = [sys.executable, str(APPS / "load_application.py"), values, *paths]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def refused(self, *args: str) -> tuple[str, str]:
        """Load a site that does not load: the one line and the traceback."""
        answer = self.load(args=args or ("settings",))
        assert answer["error"] == "app", answer
        assert "\n" not in answer["message"]
        assert OURS not in answer["details"], "none of our frames"
        return answer["message"], answer["details"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_page_of_a_site(site: Site) -> None:
    answer = site.load("/hello/", "/missing/")
    assert [page["status"] for page in answer["pages"]] == ["200 OK", "404 Not Found"]
    assert answer["pages"][0]["body"] == "hello from /hello/"
    assert answer["type"] == "WSGIHandler"


def test_settings_in_a_package(site: Site) -> None:
    site.write("mysite/settings.py", textwrap.dedent(SETTINGS).replace('"urls"', '"mysite.urls"'))
    site.write("mysite/urls.py", URLS)
    assert site.load("/hello/", args=("mysite.settings",))["pages"][0]["status"] == "200 OK"


def test_handler_that_the_settings_name(site: Site) -> None:
    site.add_settings("WSGI_APPLICATION = 'wsgi.application'")
    site.write(
        "wsgi.py",
        """
        import os
        from django.core.wsgi import get_wsgi_application

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "other.settings")

        class Mine:
            def __init__(self, inner): self.inner = inner
            def __call__(self, environ, start_response): return self.inner(environ, start_response)

        application = Mine(get_wsgi_application())
        """,
    )
    answer = site.load("/hello/")
    assert (answer["type"], answer["pages"][0]["status"]) == ("Mine", "200 OK")


def test_middleware_behind_the_settings(site: Site) -> None:
    site.write(
        "layers.py", "class Layer:\n    def __init__(self, app): self.app = app\n    __call__ = lambda s, e, r: []\n"
    )
    assert site.load(args=("settings", "layers:Layer"))["type"] == "Layer"


def test_static_files_as_the_development_server_serves_them(site: Site) -> None:
    site.add_settings(STATIC)
    site.write("assets/site.css", "body { color: green }")
    answer = site.load("/static/site.css", "/hello/", "/static/missing.css")
    assert [page["status"][:3] for page in answer["pages"]] == ["200", "200", "404"]
    assert answer["pages"][0]["body"] == "body { color: green }"


def test_no_static_files_without_debug(site: Site) -> None:
    site.add_settings(STATIC.replace("DEBUG = True", "DEBUG = False"))
    site.write("assets/site.css", "body { color: green }")
    assert site.load("/static/site.css")["pages"][0]["status"] == "404 Not Found"


def test_no_database_connection_is_left_for_the_workers(site: Site) -> None:
    site.write("urls.py", "from django.db import connection\nconnection.ensure_connection()\nurlpatterns = []\n")
    assert site.load()["connections"] == []


def test_settings_module_is_missing(site: Site) -> None:
    message, details = site.refused("mysite.settings")
    looked_for = f"there is no module mysite (wanted for mysite.settings); looked for in {site.directory} and "
    assert message.startswith(looked_for)
    assert details == ""


def test_settings_that_do_not_import(site: Site) -> None:
    site.add_settings("import nowhere_to_be_found")
    message, details = site.refused()
    assert message == "cannot import settings: ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert "settings.py" in details


def test_misconfigured(site: Site) -> None:
    site.add_settings("INSTALLED_APPS = ['nowhere_to_be_found']")
    message, details = site.refused()
    assert message.startswith("Django cannot be set up with the settings settings: ModuleNotFoundError: ")
    assert "nowhere_to_be_found" in details
    site.add_settings("INSTALLED_APPS = 2 * ['django.contrib.auth']")
    assert "ImproperlyConfigured: Application labels aren't unique" in site.refused()[0]


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("mysite", "it is a package, and no settings module: name mysite.settings"),
        (
            "mysite.wsgi",
            "it is no settings module: name mysite.settings, or serve mysite.wsgi:application without -f django",
        ),
        ("mysite.urls", "it is no settings module: name the one that manage.py names, such as mysite.settings"),
        ("mysite.bare", 'add the module of the URLs, such as ROOT_URLCONF = "mysite.urls"'),
    ],
)
def test_what_is_no_settings_module_is_refused(site: Site, module: str, hint: str) -> None:
    site.write("mysite/__init__.py", "")
    site.write(
        "mysite/wsgi.py", "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()"
    )
    site.write("mysite/urls.py", URLS)
    site.write("mysite/bare.py", textwrap.dedent(SETTINGS).replace('ROOT_URLCONF = "urls"', ""))
    assert site.refused(module) == (f"{module} has no ROOT_URLCONF: {hint}", "")


def test_at_a_reload_too(site: Site) -> None:
    with Server("-f", "django", "settings", "-s", "1", cwd=site.directory) as server:
        site.write("settings.py", textwrap.dedent(SETTINGS).replace('ROOT_URLCONF = "urls"', ""))
        assert not server.reload()
        server.wait_for_log(r' reload refused generation=2 reason="settings has no ROOT_URLCONF: add ')
        assert urlopen(f"{server.url}/hello/", timeout=10).read() == b"hello from /hello/"


def test_django_that_is_too_old(site: Site) -> None:
    site.write("django/__init__.py", "VERSION = (3, 0, 14, 'final', 0)\ndef get_version(): return '3.0.14'\n")
    assert site.load() == {
        "error": "config",
        "message": "the factory django needs Django 4.2 or newer, not 3.0.14: upgrade it, or name the application,"
        " such as mysite.wsgi:application, without -f django",
    }


def test_manage_py_names_the_settings(site: Site) -> None:
    site.write("manage.py", "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')\n")
    with Server("-s", "1", cwd=site.directory) as server:
        server.wait_for_log(r"^spawn: no APP given, so the Django settings settings are served \(from .*/manage\.py\)$")
        assert urlopen(f"{server.url}/hello/", timeout=10).read() == b"hello from /hello/"


def test_system_check_of_level_error_refuses_the_site(site: Site) -> None:
    site.add_settings("INSTALLED_APPS = ['shop']")
    site.write("shop/__init__.py", "")
    site.write(
        "shop/models.py",
        """
        from django.db import models

        class Book(models.Model):
            title = models.CharField(max_length=-1)
        """,
    )
    message, details = site.refused()
    assert message == "the system checks of settings found 1 error, the first is fields.E121"
    assert "shop.Book.title: (fields.E121)" in details
    site.add_settings("INSTALLED_APPS = ['shop']\nSILENCED_SYSTEM_CHECKS = ['fields.E121']")
    assert site.load("/hello/")["pages"][0]["status"] == "200 OK"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (
            "import nowhere_to_be_found\nurlpatterns = []\n",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        ("urlpatterns = 7\n", "ImproperlyConfigured: "),
    ],
)
def test_urlconf_that_does_not_load(site: Site, source: str, fault: str) -> None:
    site.write("urls.py", source)
    message, details = site.refused()
    assert message.startswith(f"the URLconf urls of settings does not load: {fault}")
    assert fault.partition(":")[0] in details


def test_handler_that_does_not_load(site: Site) -> None:
    site.add_settings("WSGI_APPLICATION = 'wsgi.aplication'")
    site.write("wsgi.py", "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n")
    assert site.refused()[0].endswith(
        "has no 'aplication' (wanted for wsgi.aplication); did you mean application or get_wsgi_application?"
    )


def test_settings_file_instead_of_module(site: Site) -> None:
    answer = site.load(args=("settings.py",))
    assert answer == {"error": "config", "message": "settings.py is a path: name the settings module, such as settings"}
    answer = site.load(args=("manage.py",))
    assert answer["message"] == "manage.py is a program: leave it out, and the settings that it names are found"
    for path in ("mysite/settings.py", "./mysite/settings.py", "mysite/settings"):
        answer = site.load(args=(path,))
        assert answer["message"] == f"{path} is a path: name the settings module, such as mysite.settings"


def test_served_by_the_real_command(site: Site) -> None:
    with (
        Server("--factory=spawning.django_factory.config_factory", "settings", "-s", "2", cwd=site.directory) as server,
        urlopen(f"{server.url}/hello/", timeout=10) as response,
    ):
        assert response.read() == b"hello from /hello/"


def test_refused_by_the_real_command(site: Site) -> None:
    site.write("urls.py", "import nowhere_to_be_found\n")
    finished = run("-f", "django", "settings", cwd=site.directory)
    assert finished.status == 3
    assert finished.err.splitlines()[-1].startswith("spawn: the URLconf urls of settings does not load: ModuleNotFound")


# Templates while developing ------------------------------------------------------------------------------------------

TEMPLATES = """
    DEBUG = True
    INSTALLED_APPS = ["shop"]
    MEDIA_ROOT = "media"
    TEMPLATES = [{{
        "BACKEND": "django.template.backends.{backend}",
        "DIRS": ["pages"],
        "APP_DIRS": {app_dirs},
        "OPTIONS": {options},
    }}]
"""
RENDERED = """
    from django.shortcuts import render
    from django.urls import path

    urlpatterns = [path("<name>", lambda request, name: render(request, name))]
"""
_LOADERS = "django.template.loaders"
UNCACHED = f'{{"loaders": ["{_LOADERS}.filesystem.Loader", "{_LOADERS}.app_directories.Loader"]}}'


def with_templates(site: Site, app_dirs: bool, options: str, backend: str = "django.DjangoTemplates") -> None:
    site.add_settings(TEMPLATES.format(app_dirs=app_dirs, options=options, backend=backend))
    site.write("urls.py", RENDERED)
    site.write("shop/__init__.py", "")
    folder = "jinja2" if "jinja2" in backend else "templates"
    site.write(f"shop/{folder}/shop.html", "1")
    site.write("pages/site.html", "1")


def page(server: Server, name: str) -> str:
    with urlopen(f"{server.url}/{name}", timeout=10) as response:
        text: str = response.read().decode()
        return text


@pytest.mark.parametrize("file", ["shop/templates/shop.html", "pages/site.html"])
def test_a_template_that_is_kept_in_memory_is_watched(site: Site, file: str) -> None:
    with_templates(site, app_dirs=True, options="{}")
    with Server("-f", "django", "settings", "-s", "1", "--reload", "dev", cwd=site.directory) as server:
        server.wait_for_log(r' watching for changes files=\d+ also="pages, shop/templates"$')
        name = Path(file).name
        assert page(server, name) == "1"
        site.write(file, "2")
        server.wait_for_log(rf" files changed count=1 files={file}$")
        server.wait_for_log(r" reload finished ")
        assert page(server, name) == "2"


@pytest.mark.parametrize(
    ("backend", "app_dirs", "options", "file"),
    [
        ("django.DjangoTemplates", False, UNCACHED, "shop/templates/shop.html"),
        ("django.DjangoTemplates", False, UNCACHED, "pages/site.html"),
        ("jinja2.Jinja2", True, "{}", "shop/jinja2/shop.html"),
        ("jinja2.Jinja2", True, "{}", "pages/site.html"),
    ],
)
def test_a_template_that_is_read_anew_costs_no_reload(
    site: Site, backend: str, app_dirs: bool, options: str, file: str
) -> None:
    with_templates(site, app_dirs, options, backend)
    with Server("-f", "django", "settings", "-s", "1", "--reload", "dev", "-w", ".", cwd=site.directory) as server:
        name = Path(file).name
        assert page(server, name) == "1"
        site.write(file, "2")
        assert page(server, name) == "2"
        site.write("media/upload.txt", "from a visitor")
        site.write("shop/other.txt", "a change")
        server.wait_for_log(r" files changed count=1 files=shop/other\.txt$")
        server.wait_for_log(r" reload finished generation=2 ")
        assert server.log().count(" files changed ") == 1
