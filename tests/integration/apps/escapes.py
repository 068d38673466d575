"""``basics.application`` by the beginning of the path: what follows may be anything."""

from collections.abc import Iterable
from typing import Any

import basics  # type: ignore[import-not-found]  # lies beside this file, where the server runs


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    answer: Iterable[bytes] = basics.hold(environ, start_response)
    return answer
