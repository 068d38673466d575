"""Every program that these tests need is installed by ``.ci/run``, named in CONTRIBUTING, and missed in plain words."""

from pathlib import Path

import pytest

from clients.programs import DEPLOYING, PACKAGES, program

ROOT = Path(__file__).parents[2]


ESSENTIAL = {"coreutils", "systemd", "tar", "util-linux"}  # every Debian with systemd has them


def installed() -> list[list[str]]:
    """Return the packages that CONTRIBUTING names: for all tests, and for deploying."""
    lines = (ROOT / "CONTRIBUTING.md").read_text().replace("\\\n", "").splitlines()
    return [line.split() for line in lines if "apt-get install" in line]


@pytest.mark.parametrize("name", sorted(DEPLOYING))
def test_a_program_for_deploying_is_named_where_people_look(name: str) -> None:
    assert DEPLOYING[name] in {*installed()[1], *ESSENTIAL}


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_program_is_named_where_people_look(name: str) -> None:
    assert PACKAGES[name] in installed()[0]
    assert any(
        line.startswith(f"need {name} {PACKAGES[name]}") for line in (ROOT / ".ci" / "run").read_text().splitlines()
    )


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssertionError, match="h2load is not installed: apt-get install nghttp2-client"):
        program("h2load")
