"""An application that imports nothing itself, and notes what is imported behind it: ``LATE`` is the file to note it in.

What the server imports at its first large upload, or traceback, is looked for in the application's directory first.
"""

import os
import sys
from types import FrameType
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


class Noting:
    """A finder that finds nothing, and notes what the server looks for; a package knows itself where its parts are."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        importer = caused_by(sys._getframe(1))
        if importer and path is None:
            with open(os.environ["LATE"], "a") as file:
                file.write(f"{name} {importer}\n")


def caused_by(frame: FrameType | None) -> str:
    """Name the line of Spawning that has led to an import; empty if one of the application has."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(HERE):
            return ""
        if f"{os.sep}spawning{os.sep}" in file:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


sys.meta_path.insert(0, Noting())

if os.path.exists(os.environ["LATE"] + ".trap"):
    raise LookupError("it does not load")


def application(environ: dict[str, Any], start_response: Any) -> Any:
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/raise":
        raise LookupError("early on purpose")
    write = start_response(query.replace("+", " ") if path == "/status" else "200 OK", [("Content-Type", "text/plain")])
    if path == "/write":
        write(b"written, ")
    if path == "/not-bytes":
        return ["text"]
    if path == "/raise-late":
        return failing()
    if path == "/file":
        return environ["wsgi.file_wrapper"](open(query, "rb"))
    if path == "/errors":
        environ["wsgi.errors"].write("said\n")
    while path == "/slow":
        pass
    return [environ["wsgi.input"].read() or b"x" * int(query or 5) if query.isdigit() or not query else b"said"]


def failing() -> Any:
    yield b"so far so good"
    raise LookupError("late on purpose")
