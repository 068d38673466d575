"""A page that is open in a browser (``browser.py``), from the inside: what a test has it do, and what is to be seen.

Spoken to by the protocol of Chromium's developer tools, over a WebSocket on the loopback address.
"""

import itertools
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.sync.client import connect

from clients.browser import PATIENCE
from integration.server import until


class Page:
    """See the module.

    :param directory: of the browser.
    :param url: begin of the page's address.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self._numbers = itertools.count(1)
        where = until(lambda: _target(directory, url), f"a page {url}", PATIENCE)
        self._connection = connect(where, max_size=None, proxy=None).__enter__()
        # A page is there before its document is, which is an empty one until then.
        loaded = f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})"
        until(lambda: self.run(loaded), f"{url} is loaded", PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"the page:\n{self.run('document.documentElement.innerText')}")
        self._connection.close()

    def run(self, script: str) -> Any:
        """Run an expression of JavaScript in the page and return its value."""
        number = next(self._numbers)
        parameters = {"expression": script, "returnByValue": True, "awaitPromise": True}
        self._connection.send(json.dumps({"id": number, "method": "Runtime.evaluate", "params": parameters}))
        while (answer := json.loads(self._connection.recv(PATIENCE))).get("id") != number:
            pass
        result = answer["result"]
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, text: str, element: str = "body") -> None:
        """Wait until the page shows a text."""
        shown = f"document.querySelector({json.dumps(element)})?.innerText ?? ''"
        until(lambda: text in self.run(shown), f"{element} shows {text!r}", PATIENCE)

    def enter(self, field: str, text: str) -> None:
        """Fill in a field of the page's form and send it, as Enter does."""
        self.run(
            f"(form => {{ form[{json.dumps(field)}].value = {json.dumps(text)}; form.requestSubmit(); }})"
            "(document.querySelector('form'))"
        )


def _target(directory: Path, url: str) -> str:
    """Return the address at which a page can be spoken to; empty: there is none yet."""
    try:
        port = (directory / "profile" / "DevToolsActivePort").read_text().split("\n", 1)[0]
        pages = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False, timeout=PATIENCE).json()
    except (OSError, ValueError, httpx.HTTPError):
        return ""
    return next((str(page["webSocketDebuggerUrl"]) for page in pages if page["url"].startswith(url)), "")
