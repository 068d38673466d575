"""Every program that these tests need is installed by ``.ci/run``, named in CONTRIBUTING, and missed in plain words."""

from pathlib import Path

import pytest

from clients.programs import PACKAGES, program

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_program_is_named_where_people_look(name: str) -> None:
    (command,) = (line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if "apt-get install" in line)
    assert PACKAGES[name] in command.split()
    assert any(
        line.startswith(f"need {name} {PACKAGES[name]}") for line in (ROOT / ".ci" / "run").read_text().splitlines()
    )


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssertionError, match="h2load is not installed: apt-get install nghttp2-client"):
        program("h2load")
