"""What a package says of itself that is made at its build: the README, with links that work outside of a checkout."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Makes the field ``readme``: each relative link begins with the address of the source, ``[project.urls]``."""

    def update(self, metadata: dict[str, Any]) -> None:
        source = metadata["urls"]["Source"].rstrip("/")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        absolute = _LINK.sub(rf"]({source}/blob/main/\1)", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute}
