"""Each block of code in the documentation is of a kind that a test tries; one of no kind fails.

What needs no program is tried here: commands of others (that they are known, and why they are right), what a server
prints, requests and answers of the control socket, metrics, parts of units. The rest is tried where ``KINDS`` says.
"""

import configparser
import functools
import itertools
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from spawning import ctl_report
from spawning.ctl import spawnctl
from spawning.settings import OPTIONS
from spawning.settings.log_config import LogConfig
from spawning.settings.names import setting_of
from unit.documented import BLOCKS, ROOT, Block, commands

# Kinds ---------------------------------------------------------------------------------------------------------------

LOG_LINE = re.compile(r"(?:(?:… |[\d-]+ [\d:.]+ [+-]\d{4} \[\d+\] )?(?P<level>[A-Z]+) )?(?P<words>[a-z][^={]*?) \w+=")
ACCESS_LINE = re.compile(r'\S+ - \S+ \[[^]]+\] "')
REFUSAL = re.compile(r"spawn: ")
UNIT_LINE = re.compile(r"\[[A-Z]\w+\]$|[A-Z]\w+=")


def every(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    """Return whether each line, but what is indented below one, begins so."""
    return lambda text: all(pattern.match(line) for line in text.splitlines() if not line.startswith("  "))


def is_shell(text: str) -> bool:
    try:
        return all(Path(words[0]).name in PROGRAMS for words in commands(text))
    except ValueError:
        return False


def has(*texts: str) -> Callable[[str], bool]:
    return lambda text: all(each in text for each in texts)


KINDS: dict[str, Callable[[str], bool]] = {
    "log lines": every(LOG_LINE),
    "shell": is_shell,
    "access lines": every(ACCESS_LINE),
    "refusals": every(REFUSAL),
    "JSON": every(re.compile(r"[{ ]")),
    "control protocol": every(re.compile("[→←] {")),
    "units": every(UNIT_LINE),  # tests/deploy/test_systemd.py
    "log config": has("[handlers."),
    "settings": lambda text: bool(re.search(r"^# spawning\.toml|^(app|factory) = ", text)),  # test_document_blocks.py
    "Paste": has("[server:"),
    "logrotate": has("rotate "),  # tests/clients/test_document_blocks.py
    "alerts": has("spawning_", "[10m]"),  # there too
    "probes": has("Probe: "),
    "scraping": has("scrape_configs:"),  # there too
    "Python": has("("),  # there too
    "requirements": has(" @ file:"),
    "printed": lambda text: bool(re.match(r"\$ spawnctl (log|console)", text)),
}
"""Kinds of blocks that are not fenced, in the order in which they are looked for."""

FENCES = {
    "console": "tests/clients/test_tutorial.py",
    "toml": "tests/unit/test_document_blocks.py",
    "python": "tests/clients/test_document_blocks.py",
    "nginx": "tests/clients/test_documented_proxies.py",
    "caddy": "tests/deploy/test_proxies.py",
    "haproxy": "tests/clients/test_documented_proxies.py",
}
"""What tries a language that is named."""


def kind_of(block: Block) -> str:
    """Return the kind of a block; empty: it has none, so nothing tries it."""
    if block.language != "indented":
        return block.language if block.language in FENCES else ""
    return next((kind for kind, is_of in KINDS.items() if is_of(block.text.rstrip("\n"))), "")


def of_kind(kind: str) -> list[Block]:
    return [block for block in BLOCKS if kind_of(block) == kind]


def tried(kind: str) -> pytest.MarkDecorator:
    """Try each block of a kind, of which there is one at least."""
    assert of_kind(kind), kind
    return pytest.mark.parametrize("block", of_kind(kind), ids=lambda block: block.page)


def test_every_block_is_of_a_kind() -> None:
    assert [block for block in BLOCKS if not kind_of(block)] == []


def test_every_kind_is_met() -> None:
    assert {*KINDS, *FENCES} == {kind_of(block) for block in BLOCKS}


def test_a_block_of_no_kind_is_seen() -> None:
    for text in (
        "frobnicate --all\n",
        "spawn app && frobnicate\n",
        "What is this = ?\n",
        "not: [yaml\n",
        "[section]\nkey = 1\n",
    ):
        assert kind_of(Block("page.md", "indented", text)) == "", text
    assert kind_of(Block("page.md", "brainfuck", "+")) == ""


# Commands ------------------------------------------------------------------------------------------------------------

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
ELSEWHERE = ROOT / "tests" / "elsewhere" / "options"


def nothing(words: list[str]) -> None:
    """Leave it to another test: options of these programs are compared with their ``--help`` where they are."""


def make(words: list[str]) -> None:
    assert words[1] in re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def pip(words: list[str]) -> None:
    """Extras that are named exist, and packages that are named alone are those of an extra."""
    assert words[1] in ("install", "wheel")
    packages = {Requirement(each).name for extra in EXTRAS.values() for each in extra} | {"django"}
    takes_one = {"--wheel-dir", "-r"}
    for before, word in itertools.pairwise(words[1:]):
        if word.startswith("-") or before in takes_one:
            continue
        if extra := re.fullmatch(r"\.(?:/\S+\.whl)?\[(\w+)\]", word):
            assert extra[1] in EXTRAS
        else:
            assert word in packages or word.startswith("/path/to/"), word


def python(words: list[str]) -> None:
    """A module that is there, or a command of Django's or ours."""
    if words[1] == "-m":
        assert find_spec(words[2])
    else:
        assert words[1] == "manage.py"
        assert words[2] in ("migrate", "runserver", "spawn")


def other_server(words: list[str]) -> None:
    """The options are those of its ``--help``."""
    file = {"mod_wsgi-express": "mod_wsgi", "waitress-serve": "waitress"}.get(words[0], words[0])
    known = (ELSEWHERE / f"{file}.txt").read_text().split()
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= set(known)


def kill(words: list[str]) -> None:
    signals = (ROOT / "docs" / "reference.md").read_text()
    assert f"| {words[1].lstrip('-')} |" in signals


def control(words: list[str]) -> None:
    """A question, for the control socket, whose place is what ``spawnctl`` says it is."""
    assert words[2] == "UNIX-CONNECT:/run/spawning/127.0.0.1:8080.sock"


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "spawn": nothing, "spawnctl": nothing,  # test_document_blocks.py
    "make": make, "pip": pip, "python": python, "python3": python, "kill": kill, "socat": control,
    "uwsgi": other_server, "mod_wsgi-express": other_server, "waitress-serve": other_server,
    "curl": nothing, "git": nothing, "ln": nothing, "mv": nothing, "coverage": nothing,  # tests/clients
    "docker": nothing,  # tests/deploy/test_docker.py builds and runs the same
    "systemctl": nothing,  # tests/deploy/test_systemd.py
    "ssh": nothing, "certbot": nothing,  # need another machine, and a certificate authority: not tried
    "echo": nothing, "cd": nothing, "eval": nothing, "source": nothing, "break": nothing, "…": nothing,  # the shell
}  # fmt: skip
"""The programs in blocks of commands, and what is known of their words."""


@pytest.mark.parametrize(
    "words",
    [words for block in of_kind("shell") for words in commands(block.text)],
    ids=lambda words: " ".join(words)[:60],
)
def test_commands_of_others_are_right(words: list[str]) -> None:
    PROGRAMS[Path(words[0]).name](words)


def test_every_program_is_met() -> None:
    met = {Path(words[0]).name for block in of_kind("shell") for words in commands(block.text)}
    assert set(PROGRAMS) == met


# What a server prints ------------------------------------------------------------------------------------------------


@functools.cache
def source() -> str:
    return "".join(path.read_text() for path in (ROOT / "src" / "spawning").rglob("*.py"))


def logged(text: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the sentence of each line, and its keys."""
    for line in text.splitlines():
        if found := LOG_LINE.match(line):
            shown = re.sub(r'"[^"]*"|\'[^\']*\'', "", line)
            yield found["words"], set(re.findall(r" (\w+)=", shown))


@tried("log lines")
def test_what_is_logged_is_in_the_source(block: Block) -> None:
    page = " ".join((ROOT / "docs" / "log-lines.md").read_text().split())  # also lines that are put together
    for words, keys in logged(block.text):
        if "logger" not in keys:  # which an application's own have
            assert f'"{words}' in source() or words in page, words
        assert [key for key in keys if f"{key}=" not in source() and f'"{key}"' not in source()] == []


@tried("access lines")
def test_access_lines_are_what_spawnctl_reads(block: Block) -> None:
    lines = block.text.splitlines()
    report = ctl_report.read([line.encode() for line in lines], "path", 0, 2e10)
    assert (report.strange, sum(len(group.seconds) for group in report.groups.values())) == (0, len(lines))


@tried("JSON")
def test_json_has_the_members_of_the_source(block: Block) -> None:
    found = json.loads(block.text.replace("\n", ""))
    fields = {"method", "path"}  # of the line itself
    unknown = [name for name in found if f'"{name}"' not in source() and name not in fields]
    assert [name for name in unknown if not name.startswith("http.request.header.")] == []


@tried("printed")
def test_tables_of_spawnctl_have_its_columns(block: Block) -> None:
    if "$ spawnctl log" not in block.text:
        assert ">>> " in block.text  # a session of the console, which `test_console.py` has
        return
    command, head, *rows = block.text.rstrip("\n").splitlines()
    line = b'127.0.0.1 - - [23/Nov/2026:19:30:49 +0100] "GET /search HTTP/1.1" 200 5 "-" "-" 0.012345\n'
    report = ctl_report.read([line], "path", 0, 2e10)
    shown = ctl_report.text(list(ctl_report.rows(report, 0, 2e10)), "path", 0)
    assert head.split() == shown.splitlines()[0].split()
    assert all(len(row.split()) == len(shown.splitlines()[1].split()) for row in rows), command


# Files and parts of files --------------------------------------------------------------------------------------------


@tried("control protocol")
def test_questions_and_answers_are_those_of_the_control_socket(block: Block) -> None:
    table = (ROOT / "docs" / "reference.md").read_text()
    for line in block.text.splitlines():
        said = json.loads(line[2:])
        if line.startswith("→"):
            assert said["command"] in spawnctl.commands
            assert f"`{said['command']}`" in table
        else:
            assert said.keys() <= {"progress", "ok", "error"}


@tried("log config")
def test_a_log_config_can_be_used(block: Block, tmp_path: Path) -> None:
    (tmp_path / "logging.toml").write_text(block.text)
    values = LogConfig(str(tmp_path / "logging.toml"), "logging.toml", "option --log-config").values
    for handler in values["handlers"].values():
        module, _, name = handler["class"].rpartition(".")
        assert hasattr(__import__(module, fromlist=[name]), name)


@tried("Paste")
def test_keys_of_an_ini_file_are_settings(block: Block) -> None:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(block.text)
    keys = set(ini["server:main"]) - {"use"}
    assert keys <= {setting_of(key) and key for key in keys} | set(OPTIONS)


@tried("requirements")
def test_requirements_name_an_extra(block: Block) -> None:
    assert Requirement(block.text.strip()).extras <= set(EXTRAS)


@tried("probes")
def test_probes_are_those_that_are_shipped(block: Block) -> None:
    shipped = yaml.safe_load((ROOT / "examples" / "kubernetes" / "deployment.yaml").read_text())
    (container,) = shipped["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name, value in yaml.safe_load(block.text).items():
        theirs, ours = container[name]["httpGet"], value["httpGet"]
        assert (theirs["path"], ports.get(theirs["port"], theirs["port"])) == (ours["path"], ours["port"])
