"""A hook of MkDocs: links to files that are no pages lead to the source, since the site has pages alone."""

import os
import re
import tomllib
from typing import Any

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")
SHOWN = (".md", ".png", ".svg", ".json")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Return a page with such links made absolute. What is no file at all is left for MkDocs to complain about."""
    root = os.path.dirname(config["docs_dir"])
    here = os.path.dirname(page.file.abs_src_path)

    def replaced(match: re.Match[str]) -> str:
        path = os.path.normpath(os.path.join(here, match[1]))
        inside = path.startswith(config["docs_dir"] + os.sep) and path.endswith(SHOWN)
        if inside or not os.path.exists(path):
            return match[0]
        return f"{_source()}/blob/main/{os.path.relpath(path, root)}{match[2] or ''}"

    return _LINK.sub(replaced, markdown)


def _source() -> str:
    with open(os.path.join(os.path.dirname(__file__), "..", "pyproject.toml"), "rb") as file:
        return str(tomllib.load(file)["project"]["urls"]["Source"])
