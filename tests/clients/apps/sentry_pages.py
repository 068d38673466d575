"""A Flask application watched by Sentry's SDK: what that would send goes to a file, an item of an envelope a line."""

import os
from pathlib import Path
from typing import Any

import sentry_sdk
from flask import Flask, Response, request
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from sentry_sdk.transport import Transport


class ToFile(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        with Path(os.environ["SENT_FILE"]).open("a") as file:
            file.writelines(f"{item.type}\n" for item in envelope.items)


sentry_sdk.init("http://key@localhost/1", transport=ToFile, traces_sample_rate=1.0)

app = Flask(__name__)


@app.get("/fail")
def fail() -> Response:
    raise LookupError("on purpose")


@app.get("/log")
def log() -> str:
    """Log through Flask, whose handler writes to ``wsgi.errors``."""
    app.logger.warning("said by the application")
    return "logged"


@app.get("/write")
def write() -> str:
    request.environ["wsgi.errors"].write("one\ntwo\nthree\n")
    return "written"


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Be an application without a framework: fails at ``/fail``, else writes three lines."""
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("on purpose")
    environ["wsgi.errors"].write("one\ntwo\nthree\n")
    start_response("200 OK", [])
    return []


watched = SentryWsgiMiddleware(plain)
