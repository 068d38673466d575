"""The application that shows why code was refused, in the place of the application that was (``--reload dev``).

The controller starts a generation of it when a reload or the first start is refused (``controller/refusal.py``). A
browser gets a page, anybody else the same as text, each with status 503. The page comes back by itself: it listens to
an event stream of this application, which ends when other code serves, and loads its address anew.

Rules: the page holds nothing that is not in itself, and all text in it is escaped: a traceback may show what clients
have sent. It is for developers, and never served without ``--reload dev``.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from html import escape
from threading import Event
from typing import Any

from spawning.errors import ConfigError

_HEARTBEAT = 10.0  # seconds between the comments by which a stream notices that its reader has gone
_LISTENS = "text/event-stream"
_QUERY = "spawning-refusal"

_STYLE = """\
:root { color-scheme: light dark; --dim: #666; --line: #8884; --mark: #c33; }
@media (prefers-color-scheme: dark) { :root { --dim: #aaa; --mark: #f77; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; }
p { margin: .5rem 0; overflow-wrap: anywhere; }
.reason { color: var(--mark); font-weight: 600; }
.dim { color: var(--dim); }
pre { border: 1px solid var(--line); border-radius: .4rem; overflow-x: auto; padding: 1rem; font-size: .85rem; }
"""

# Loads the page anew when the stream ends and somebody answers again. A hidden page does not listen: browsers open few
# connections to a server.
_SCRIPT = """\
let stream = null;
function look() {
  fetch(location.href, {method: "HEAD", cache: "no-store"}).then(
    () => location.replace(location.pathname + location.search), () => setTimeout(look, 500));
}
function follow() {
  if (document.hidden) { if (stream) { stream.close(); stream = null; } return; }
  if (stream) return;
  stream = new EventSource(location.pathname + "?QUERY");
  stream.onmessage = event => { if (event.data !== GENERATION) { stream.close(); look(); } };
  stream.onerror = () => { stream.close(); look(); };
}
document.addEventListener("visibilitychange", follow);
follow();
"""


def config_factory(args: dict[str, Any]) -> dict[str, Any]:
    """Choose the application of this module.

    :raises ConfigError: it was named on a command line.
    """
    if "refusal" not in args:
        raise ConfigError("spawning.refusal_page is no factory to be named: it shows what --reload dev has refused")
    return {**args, "app_factory": "spawning.refusal_page.app_factory"}


def app_factory(config: dict[str, Any]) -> "RefusalPage":
    """Make the application from ``config["refusal"]``."""
    return RefusalPage(**config["refusal"])


class RefusalPage:
    """See the module.

    :param generation: the number of what was refused.
    :param reason: one line.
    :param traceback: of the application, or empty.
    :param changed: the files whose change had asked for it, or none.
    """

    def __init__(self, generation: int, reason: str, traceback: str, changed: list[str]) -> None:
        self._generation = str(generation)
        text = f"{reason}\n"
        if changed:
            text += f"changed: {', '.join(changed)}\n"
        self._text = f"{text}\n{traceback}".rstrip().encode("utf-8", "replace") + b"\n"
        self._page, self._policy = _page(self._generation, reason, traceback, changed)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        accept = environ.get("HTTP_ACCEPT", "")
        if accept == _LISTENS and environ["REQUEST_METHOD"] == "GET":
            start_response("200 OK", [("Content-Type", _LISTENS), ("Cache-Control", "no-store")])
            return _beats(self._generation if environ.get("QUERY_STRING") == _QUERY else "")
        kind, body = ("text/html", self._page) if "text/html" in accept else ("text/plain", self._text)
        start_response(
            "503 Service Unavailable",
            [
                ("Content-Type", f"{kind}; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("Retry-After", "1"),
                ("Content-Security-Policy", self._policy),
                ("X-Content-Type-Options", "nosniff"),
            ],
        )
        return [body]


def _beats(generation: str) -> Iterator[bytes]:
    """Send once which generation this is, so that a page of another one is loaded anew, and then only that somebody is.

    :param generation: empty for a stream that a page of the site has asked for. Such a stream gets no events, and not
        an error either, behind which browsers would not ask again.
    """
    yield f"data: {generation}\n\n".encode() if generation else b": \n\n"
    never = Event()
    while not never.wait(_HEARTBEAT):
        yield b": \n\n"


def _page(generation: str, reason: str, traceback: str, changed: list[str]) -> tuple[bytes, str]:
    """Write the page, and the policy that lets only its own script and style be used in it."""
    script = _SCRIPT.replace("GENERATION", f'"{generation}"').replace("QUERY", _QUERY)
    files = f'<p class="dim">changed: {escape(", ".join(changed))}</p>' if changed else ""
    shown = f"<pre>{escape(traceback)}</pre>" if traceback else ""
    text = f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>The code does not load</title>
<noscript><meta http-equiv="refresh" content="2"></noscript>
<style>{_STYLE}</style>
</head>
<body>
<h1>The code does not load</h1>
<p class="reason">{escape(reason)}</p>
{files}
{shown}
<p class="dim">Spawning shows this, in place of the site, because of <code>--reload dev</code>. The page comes back by
itself when the code loads again.</p>
<script>{script}</script>
</body>
</html>
"""
    policy = f"default-src 'none'; connect-src 'self'; style-src {_source(_STYLE)}; script-src {_source(script)}"
    return text.encode("utf-8", "replace"), policy


def _source(text: str) -> str:
    """Name a text in a Content-Security-Policy, by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
