"""Blocks of code in the documentation, as far as they can be tried without a server.

* ``spawn`` and ``spawnctl``: the options and commands exist, and values can be used;
* TOML: the settings exist, and values can be used; Python compiles.

Which kinds of blocks there are, and what tries the others: ``test_document_kinds.py``.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from spawning.cli_options import QUESTIONS, typed_values
from spawning.ctl import spawnctl
from spawning.settings.checking import parsed
from spawning.settings.names import APP, MIDDLEWARE, setting_of
from unit.documented import BLOCKS, FENCED, PAGES, ROOT, Block, of

COMMAND = re.compile(
    r"(?:^|&& )(?:\$ )?(?:\S+=\S+ )*(?:\S*/bin/)?(spawn|spawnctl) (.*)$|^(?:\$ )?(spawn)$", re.MULTILINE
)
TRIED_ELSEWHERE = {"nginx", "haproxy", "apache", "caddy", "conf", "lua"}
LANGUAGES = {"python", "toml", "json", "console", "ini", "sh", "text", "yaml", "", *TRIED_ELSEWHERE}


def commands(name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each call of a command, with its page: the words behind its name, up to what a shell does with them."""
    for block in of("indented", "console", "sh"):
        for program, typed, alone in COMMAND.findall(re.sub(r"\s*\\\n\s*", " ", block.text)):
            if (program or alone) == name:
                command = re.split(r"\s+#|\s+[|&;>]|\s+2>|\s{3,}", typed, maxsplit=1)[0]
                command = command.rstrip("'") if command.count("'") % 2 else command  # what `ssh` quotes
                if not re.search(r"[…\[]|\bN\b", command):
                    yield block.page, shlex.split(command)


def test_there_are_blocks_of_each_kind() -> None:
    assert len(list(commands("spawn"))) > 30
    assert len(list(commands("spawnctl"))) > 12
    assert len(of("toml")) > 0
    assert {block.language for block in BLOCKS} <= LANGUAGES | {"indented"}


@pytest.mark.parametrize(("page", "words"), list(commands("spawn")), ids=str)
def test_options_of_spawn_exist_and_values_can_be_used(page: str, words: list[str]) -> None:
    if "--help" in words or "--version" in words:
        return
    typed = typed_values(words)
    assert typed is not None
    for name, value in typed.items():
        if name not in (*QUESTIONS, "args"):
            parsed(name, value, page)


@pytest.mark.parametrize(("page", "words"), list(commands("spawnctl")), ids=str)
def test_commands_of_spawnctl_exist(page: str, words: list[str]) -> None:
    context = click.Context(spawnctl, info_name="spawnctl", resilient_parsing=True)
    rest = list(words)
    while rest and rest[0].startswith("--") and rest[0] not in ("--help",):
        rest = rest[2:]
    if rest and rest[0] != "--help":
        command = spawnctl.get_command(context, rest[0])
        assert command is not None, (page, words)
        known = {flag for each in command.params for flag in each.opts} | {"--help", "--address", "--socket"}
        assert {word.partition("=")[0] for word in rest[1:] if word.startswith("--")} <= known, (page, words)


def is_settings(text: str) -> bool:
    """Whether a block is a file of settings of ours."""
    return bool(
        re.search(r"^# spawning\.toml|^\[tool\.spawning\]|^(app|bind|processes|factory) = ", text, re.MULTILINE)
    )


@pytest.mark.parametrize("block", [b for b in of("toml", "indented") if is_settings(b.text)], ids=lambda b: b.page)
def test_settings_exist_and_values_can_be_used(block: Block) -> None:
    values = tomllib.loads(block.text)
    for key, value in values.get("tool", {}).get("spawning", values).items():
        name = setting_of(key)
        assert name, key
        if name not in (APP, MIDDLEWARE):
            parsed(name, value, block.page)


@pytest.mark.parametrize("block", of("python"), ids=lambda block: block.page)
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.page, "exec")


# Anchors -------------------------------------------------------------------------------------------------------------

LINK = re.compile(r"\]\(([^)#:\s]*)#([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """List the anchors of the headings of a page, as code hosting sites and our own make them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    for name, anchor in LINK.findall(page.read_text()):
        target = (page.parent / name).resolve() if name else page
        assert target.suffix != ".md" or anchor in anchors(target), f"{name}#{anchor}"


# The site ------------------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"[\w/.-]+\.md", navigation)
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert there - set(named) == set(), "mkdocs.yml"
    assert set(named) - there == set(), "mkdocs.yml"
    assert len(named) == len(set(named))
