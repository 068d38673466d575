"""Pages that name tests: those tests exist, and each line of a table names one."""

import fnmatch
import re
from pathlib import Path

import pytest
from release import log_lines
from release.check import SUPPORTED

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def functions(file: str) -> set[str]:
    """List the tests in the files of that name, wherever under ``tests`` they are."""
    texts = [path.read_text() for path in (ROOT / "tests").rglob(file)]
    return {name for text in texts for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)}


@pytest.mark.parametrize("page", ["http.md", "wsgi.md", "proxies.md"])
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


def test_every_freedom_of_the_process_names_its_test() -> None:
    _, _, section = (ROOT / "docs" / "wsgi.md").read_text().partition("\n## The process\n")
    bullets = re.split(r"^\* ", section, flags=re.MULTILINE)[1:]
    assert len(bullets) > 5
    assert [bullet for bullet in bullets if not NAMED.search(bullet)] == []


# Finding one's way ---------------------------------------------------------------------------------------------------

PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "from").glob("*.md")])
TEXTS = [
    *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*"),
    *(ROOT / "src").rglob("*.py"), *(ROOT / "bench").glob("*.md"), *(ROOT / ".github").rglob("*.*"), ROOT / "Makefile",
]  # fmt: skip
LINK = re.compile(r"\]\(([^)#:\s\"]+)(?:#[^)]*)?\)")


def links(page: Path) -> set[Path]:
    """List the files that a page links."""
    return {(page.parent / name).resolve() for name in LINK.findall(page.read_text())}


def test_readme_links_every_page() -> None:
    assert [page.name for page in PAGES if page not in links(ROOT / "README.md") and page.name != "README.md"] == []


def test_the_index_links_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    assert [page.name for page in PAGES if page not in links(index) and page != index] == []


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [link for link in links(page) if not link.exists()] == []


def test_nobody_is_told_to_install_what_has_our_name_elsewhere() -> None:
    """An index may have an unrelated package of that name."""
    command = re.compile(r"\b(?:pip3?|pipx|uv|poetry|pdm) (?:install|add)\b[^\n`]*(?<![\w/.])spawning(?!\S*\.whl)")
    assert command.search("python -m pip install --upgrade 'spawning[reload]>=1'")
    assert not command.search("pip install './spawning-1.0-py3-none-any.whl[reload]'")
    files = [file for file in TEXTS if file.is_file()]
    assert [file.name for file in files if command.search(file.read_text(errors="ignore"))] == []


def test_the_same_versions_of_python_are_supported_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    supported = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)
    assert tuple(supported) == SUPPORTED
    assert f'requires-python = ">={supported[0]}"' in project
    (matrix,) = re.findall(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert re.findall(r"[\d.]+", matrix) == supported
    for page in ("docs/policy.md", "docs/install.md", "README.md"):
        assert f"{supported[0]} to {supported[-1]}" in (ROOT / page).read_text(), page


def test_the_experiment_of_the_readme_expects_pages_of_other_lengths() -> None:
    assert "`ab -l " in (ROOT / "README.md").read_text()


# HTTP ----------------------------------------------------------------------------------------------------------------

HTTP = (ROOT / "docs" / "http.md").read_text()
CASE = re.compile(r"`([a-z]+-[a-z0-9*-]*)`")


def corpus() -> set[str]:
    """List the names of all cases."""
    return {path.stem for path in (ROOT / "tests" / "corpus").rglob("*.json")}


def families() -> set[str]:
    """List the names of cases and families of cases in the tables."""
    return {name for row in rows_of(HTTP) for name in CASE.findall(row.rpartition(" | ")[2])}


def rows_of(page: str) -> list[str]:
    """List the lines of tables without their heads."""
    return [row for row in page.splitlines() if row.startswith("| ") and not row.startswith("| rule |")]


def test_every_case_that_the_page_on_http_names_exists() -> None:
    assert [name for name in families() if not fnmatch.filter(corpus(), name)] == []


def test_every_case_of_the_corpus_is_behind_a_rule() -> None:
    assert {case for case in corpus() if not any(fnmatch.fnmatchcase(case, name) for name in families())} == set()


def test_every_rule_of_http_is_shown_by_something() -> None:
    assert len(rows_of(HTTP)) > 50
    assert [row for row in rows_of(HTTP) if not NAMED.search(row) and not CASE.search(row.rpartition(" | ")[2])] == []
    without_source = [row for row in rows_of(HTTP) if not re.search(r"\| (RFC \d+ [\d.]+|\|)", row)]
    assert [row for row in without_source if "grows with the square" not in row] == []


def test_the_page_of_log_lines_has_those_of_the_source() -> None:
    page = (ROOT / "docs" / "log-lines.md").read_text()
    assert log_lines.renewed(page) == page, "make settings"
