"""Projects of Django, made for a test by their own commands, and a person who is logged in to one."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import requests

from applications.holding import LONG

NAME, PASSWORD = "anna", "only-for-tests"
WSGI = "from held import held\nfrom {0}.wsgi import application as project\n\napplication = held(project)\n"
_TOKEN = re.compile(r"name=[\"']csrfmiddlewaretoken[\"'] value=[\"']([^\"']+)")


def manage(project: Path, *words: str) -> str:
    """Run a command of a project; any status but 0 fails."""
    variables = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    return python("manage.py", *words, cwd=project, env=variables)


def python(*words: str, cwd: Path, env: Mapping[str, str] = {}) -> str:
    """Run a script or module of Python to its end."""
    command = [sys.executable, *words]
    ended = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=LONG
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def prepare(project: Path, package: str) -> None:
    """Make the tables and a superuser, and an application whose requests can be held: ``held_site``."""
    manage(project, "migrate", "--verbosity", "0")
    manage(project, "createsuperuser", "--noinput", "--username", NAME, "--email", "a@example.org")
    (project / "held_site.py").write_text(WSGI.format(package))


class Person:
    """Somebody with a browser's session, who fills in forms; any answer that is an error fails."""

    def __init__(self, url: str, login: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        answer = self.send(login, {"username": NAME, "password": PASSWORD})
        assert "sessionid" in self._session.cookies, answer.text[:2000]

    def see(self, path: str) -> str:
        answer = self._session.get(self._url + path, timeout=LONG)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.text

    def send(
        self, path: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]] | None = None
    ) -> requests.Response:
        """Fill in the form of a page, and send it there."""
        found = _TOKEN.search(self.see(path))
        assert found is not None, f"{path} has no form"
        data = {"csrfmiddlewaretoken": found[1], **fields}
        answer = self._session.post(self._url + path, data=data, files=files, timeout=LONG)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer
