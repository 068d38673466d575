"""Which settings are found where the command line names none."""

from pathlib import Path

import pytest

from spawning.cli import parse
from spawning.django_project import VARIABLE, find
from spawning.errors import ConfigError

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
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a ``manage.py`` in it."""
    (tmp_path / "manage.py").write_text(MANAGE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("arguments", [[], ["-f", "django"], ["--factory", FACTORY, "-s", "2"]])
def test_the_settings_of_manage_py_need_no_name(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    asked = parse(arguments, {})
    assert asked is not None
    assert (asked[0].args, asked[0].factory) == (("mysite.settings",), FACTORY)
    assert capsys.readouterr().err == (
        f"spawn: no APP given, so the Django settings mysite.settings are served (from {project / 'manage.py'})\n"
    )


def test_the_environment_counts_as_for_manage_py_itself(
    project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = parse([], {VARIABLE: "mysite.local"})
    assert asked is not None
    assert asked[0].args == ("mysite.local",)
    assert f"(from environment variable {VARIABLE})" in capsys.readouterr().err
    (project / "manage.py").unlink()
    asked = parse(["-f", "django"], {VARIABLE: "mysite.local"})
    assert asked is not None
    assert asked[0].args == ("mysite.local",)
    with pytest.raises(ConfigError, match="no APP given"):
        parse([], {VARIABLE: "mysite.local"})  # nothing here says that Django is wanted


def test_what_is_named_counts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["hello:app"], ["-f", "django", "other.settings"]):
        asked = parse(arguments, {VARIABLE: "mysite.local"})
        assert asked is not None
        assert asked[0].args == (arguments[-1],)
    with pytest.raises(ConfigError, match="no APP given"):
        parse(["-f", "paste"], {})
    assert capsys.readouterr().err == ""


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
