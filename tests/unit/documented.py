"""The blocks of code of the documentation, and the commands in them."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "from").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)*(?:^ {4}.*\n)", re.MULTILINE)
_ENDS_AT = re.compile(r"\s#|\s{3,}| [<>] ")  # a comment, columns of words, what a shell does with files
_OPTIONAL = re.compile(r"(?<=\s)\[[^]]*\]|(?<=\s)…(?=\s)")


class Block(NamedTuple):
    """A block of a page, without its indentation."""

    page: str
    language: str
    text: str


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        yield from (Block(page.name, *found) for found in FENCED.findall(text))
        for found in INDENTED.findall(FENCED.sub("", text)):
            yield Block(page.name, "indented", textwrap.dedent(found).strip("\n") + "\n")


BLOCKS = list(blocks())


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a block, without variables that are set for it and what is only optional.

    :raises ValueError: a quotation has no end.
    """
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        if line.strip() and not line.startswith("#"):
            yield from _of_line(_OPTIONAL.sub("", _ENDS_AT.split(line.removeprefix("$ "), maxsplit=1)[0]))


def _of_line(line: str) -> Iterator[list[str]]:
    inner = re.findall(r"\"\$\((.*?)\)\"", line)
    reader = shlex.shlex(re.sub(r"\"\$\(.*?\)\"", "SUBSTITUTED", line), posix=True, punctuation_chars="|&;")
    reader.whitespace_split, reader.commenters = True, ""
    words: list[str] = []
    for word in [*reader, ";"]:
        if set(word) <= set("|&;"):
            yield from _command(words)
            words = []
        else:
            words.append(word)
    for each in inner:
        yield from _of_line(each)


def _command(words: list[str]) -> Iterator[list[str]]:
    while words and (re.match(r"[A-Z_]+=", words[0]) or words[0] in ("do", "for", "done")):
        if words[0] in ("for", "done"):
            return
        words = words[1:]
    if words:
        yield words
