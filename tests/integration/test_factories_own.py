"""A factory of the user's own, as docs/factories.md describes it, and names in the current directory."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import spawning
from integration.server import APPS, Server, run


def _page(server: Server) -> str:
    with urllib.request.urlopen(server.url, timeout=10) as response:
        text: str = response.read().decode()
    return text


def test_factory_changes_settings_and_hands_on_its_own_keys() -> None:
    with Server("-f", "own_factory.config_factory", "staging", "-s", "1") as server:
        assert server.wait_for_log(r" ready .* workers=1 threads=50$")
        assert _page(server) == "staging"


def test_factory_respects_the_command_line() -> None:
    with Server("-f", "own_factory.config_factory", "production", "-s", "1", "-t", "7") as server:
        assert server.wait_for_log(r" ready .* workers=1 threads=7$")


def test_usage_error_of_a_factory_is_one_line_and_status_2() -> None:
    finished = run("-f", "own_factory.config_factory", "testing")
    assert finished.status == 2
    assert finished.err.splitlines()[-1] == "spawn: say staging or production"
    assert "Traceback" not in finished.err


def test_factory_that_does_not_exist() -> None:
    finished = run("-f", "own_factory.konfig_factory", "staging")
    assert finished.status == 3
    assert (
        "(wanted for own_factory.konfig_factory); did you mean config_factory or app_factory?"
        in finished.err.splitlines()[-1]
    )


def test_application_that_does_not_exist_says_where_it_was_looked_for(tmp_path: Path) -> None:
    finished = run("nowhere_to_be_found:app", cwd=tmp_path)
    assert finished.status == 3
    message = (
        f"spawn: there is no module nowhere_to_be_found (wanted for nowhere_to_be_found:app); looked for in {tmp_path}"
    )
    assert finished.err.splitlines()[-1].startswith(message)


def test_application_that_fails_shows_its_traceback_once(tmp_path: Path) -> None:
    (tmp_path / "site_x.py").write_text("raise RuntimeError('no database')\n")
    finished = run("site_x:app", cwd=tmp_path)
    assert finished.status == 3
    assert finished.err.count("Traceback (most recent call last)") == 1
    assert finished.err.splitlines()[-1].startswith("spawn: cannot import site_x")


@pytest.mark.parametrize(
    ("factory", "argument", "message"),
    [
        (
            "paste",
            "site.ini",
            "the factory paste needs PasteDeploy, the extra spawning[paste]: pip install PasteDeploy",
        ),
        ("django", "settings", "the factory django needs Django: pip install django"),
    ],
)
def test_factory_without_its_framework(tmp_path: Path, factory: str, argument: str, message: str) -> None:
    """An interpreter without installed packages (``-S``) sees nothing but Spawning itself."""
    (tmp_path / "spawning").symlink_to(Path(spawning.__file__).parent)
    (tmp_path / "site.ini").write_text("[server:main]\nuse = egg:spawning\n")
    values = json.dumps({"factory": factory, "args": [argument]})
    done = subprocess.run(
        [sys.executable, "-S", str(APPS / "load_application.py"), values],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"error": "config", "message": message}
