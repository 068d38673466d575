"""Pages that name tests: those tests exist, and each line of a table names one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def functions(file: str) -> set[str]:
    """List the tests in the file of that name, wherever under ``tests`` it is."""
    (path,) = (ROOT / "tests").rglob(file)
    return set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", ["wsgi.md", "proxies.md"])
def test_the_tests_that_a_page_names_exist(page: str) -> None:
    named = NAMED.findall((ROOT / "docs" / page).read_text())
    assert len(named) > 5
    assert [(file, test) for file, test in named if test not in functions(file)] == []


def test_every_rule_of_wsgi_names_its_test() -> None:
    rows = [row for row in (ROOT / "docs" / "wsgi.md").read_text().splitlines() if row.startswith("|")]
    heads = sum(row.startswith("|---") for row in rows)
    assert heads == 4
    assert len(rows) > 60
    without = [row for row in rows if not NAMED.search(row)]
    assert len(without) == 2 * heads, without
