"""Which settings are found where the command line names none."""

from pathlib import Path

import pytest

from spawning.cli import parse
from spawning.django_project import VARIABLE, find
from spawning.errors import ConfigError
from spawning.settings.sources import Configuration

MANAGE = """\
#!/usr/bin/env python
import os
import sys


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
FACTORY = "spawning.django_factory.config_factory"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a ``manage.py`` in it."""
    (tmp_path / "manage.py").write_text(MANAGE)
    return tmp_path


def configuration(directory: Path, *arguments: str, environ: dict[str, str] | None = None) -> Configuration:
    asked = parse(arguments, environ or {}, str(directory))
    assert asked is not None
    return asked.sources.read_all()


@pytest.mark.parametrize("arguments", [[], ["-f", "django"], ["--factory", FACTORY, "-s", "2"]])
def test_the_settings_of_manage_py_need_no_name(project: Path, arguments: list[str]) -> None:
    found = configuration(project, *arguments)
    assert (found.settings.args, found.settings.factory) == (("mysite.settings",), FACTORY)
    assert found.sources["args"] == f"Django project from {project / 'manage.py'}"


def test_the_environment_counts_as_for_manage_py_itself(project: Path) -> None:
    environ = {VARIABLE: "mysite.local"}
    found = configuration(project, environ=environ)
    assert found.settings.args == ("mysite.local",)
    assert found.sources["args"] == f"Django project from environment variable {VARIABLE}"
    (project / "manage.py").unlink()
    assert configuration(project, "-f", "django", environ=environ).settings.args == ("mysite.local",)
    with pytest.raises(ConfigError, match="no APP given"):
        configuration(project, environ=environ)  # nothing here says that Django is wanted


def test_a_file_of_variables_counts_too_and_the_directory_is_the_one_to_be_in(project: Path) -> None:
    (project / ".env").write_text(f"{VARIABLE}=mysite.local\n")
    (project / "spawning.toml").write_text('env-file = ".env"\nthreads = 3\n')
    found = configuration(project.parent, "--chdir", project.name).settings
    assert (found.args, found.threadpool_workers) == (("mysite.local",), 3)


def test_what_is_named_counts(project: Path) -> None:
    for arguments in (["hello:app"], ["-f", "django", "other.settings"]):
        found = configuration(project, *arguments, environ={VARIABLE: "mysite.local"})
        assert found.settings.args == (arguments[-1],)
    with pytest.raises(ConfigError, match="no APP given"):
        configuration(project, "-f", "paste")
    (project / "spawning.toml").write_text('app = "hello:app"')
    assert configuration(project).settings.args == ("hello:app",)


@pytest.mark.parametrize(
    "line",
    [
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")',
        "environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')",
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'",
        "if True:\n    os.environ['OTHER'] = 'x'; os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'",
    ],
)
def test_ways_to_write_it(tmp_path: Path, line: str) -> None:
    (tmp_path / "manage.py").write_text(f"import os\n{line}\n")
    found = find(tmp_path, {}, wanted=False)
    assert found is not None
    assert found.settings == "mysite.settings"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', os.environ['SITE'])\n",
            "sets no DJANGO_SETTINGS_",
        ),
        ("def broken(:\n", "cannot be read: invalid syntax"),
    ],
)
def test_a_manage_py_that_names_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manage.py").write_text(text)
    with pytest.raises(ConfigError, match=message):
        find(tmp_path, {}, wanted=False)


def test_no_project(tmp_path: Path) -> None:
    assert find(tmp_path, {}, wanted=False) is None
    assert find(tmp_path, {}, wanted=True) is None
