"""The tables of ``docs/log-lines.md``: ``python -m release.log_lines docs/log-lines.md`` makes them anew.

They are read from the calls in the source, so a line that is new is in the page, or a test fails.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from spawning.settings.page import replaced

SOURCE = Path(__file__).parent.parent / "src" / "spawning"
BEGIN = "<!-- made by `make settings` from the calls in the source -->"
LEVELS = {
    "error": ("error", "exception"), "warning": ("warning",), "info": ("info",), "debug": ("debug",),
}  # fmt: skip
PLACEHOLDER = re.compile(r"%[-+.\d]*[a-z]")


def renewed(page: str) -> str:
    """Return a page with its tables made anew.

    :raises ValueError: it has no place for them.
    """
    return replaced(page, BEGIN, "".join(_tables()) + "\n")


def _tables() -> Iterator[str]:
    lines = set(_lines())
    for level, methods in LEVELS.items():
        yield f"\n### {level.upper()}\n\n| line | keys |\n|---|---|\n"
        for words, keys in sorted({(words, keys) for method, words, keys in lines if method in methods}):
            yield f"| {words} | {', '.join(f'`{key}`' for key in keys)} |\n"


def _lines() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield method, words and keys of each call that logs a sentence which stands there."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                text = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
                if ast.unparse(node.func.value) == "log" and isinstance(text, str):
                    words, keys = _parted(text.partition("\n")[0])
                    if words:
                        yield node.func.attr, words, (*keys, *_fields(node.args[1:]))


def _parted(text: str) -> tuple[str, list[str]]:
    """Return the sentence of a format, and the keys in it; no sentence if it only has placeholders."""
    keys = re.findall(r"(\w+)=", text)
    sentence = re.split(r" \w+=", text, maxsplit=1)[0]
    shown = PLACEHOLDER.sub("…", re.sub(r"( ?%s)+$", "", sentence)).strip()
    return (shown, keys) if re.search(r"\w", shown) else ("", [])


def _fields(arguments: list[ast.expr]) -> Iterator[str]:
    for argument in arguments:
        for node in ast.walk(argument):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "fields":
                yield from (keyword.arg for keyword in node.keywords if keyword.arg)


def main() -> None:
    """Write the tables of the page that is named."""
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text()))


if __name__ == "__main__":
    main()
