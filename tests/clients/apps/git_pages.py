"""Repositories by git's smart HTTP protocol: a WSGI application that runs ``git http-backend``, a CGI program.

The directory of the repositories is in ``GIT_PROJECT_ROOT``, which git reads itself.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

COMMAND = ("git", "http-backend")
PASSED = {"AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "REQUEST_METHOD"}


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Have the program answer (RFC 3875), and pass on what it sends as it comes."""
    with tempfile.TemporaryFile() as body:  # not a pipe, which would have to be filled while another is emptied
        shutil.copyfileobj(environ["wsgi.input"], body)
        body.seek(0)
        process = subprocess.Popen(COMMAND, stdin=body, stdout=subprocess.PIPE, env=os.environ | variables(environ))
    assert process.stdout
    fields = list(head(process.stdout))
    status = dict(fields).get("Status", "200 OK")
    start_response(status, [(name, value) for name, value in fields if name != "Status"])
    return Content(process)


def variables(environ: dict[str, Any]) -> dict[str, str]:
    """Return the meta-variables of RFC 3875 that are in an environ, and those that git adds to them."""
    passed = {name: value for name, value in environ.items() if name in PASSED or name.startswith("HTTP_")}
    return passed | {"GIT_HTTP_EXPORT_ALL": "1", "GIT_PROTOCOL": environ.get("HTTP_GIT_PROTOCOL", "")}


def head(stdout: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Read fields up to the empty line."""
    while line := stdout.readline().strip().decode("latin-1"):
        name, _, value = line.partition(":")
        yield name, value.strip()


class Content:
    """What follows the head; ``close`` waits for the program, which ends by itself when nobody reads it any more."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __iter__(self) -> Iterator[bytes]:
        assert self._process.stdout
        while block := self._process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            yield block

    def close(self) -> None:
        assert self._process.stdout
        self._process.stdout.close()
        self._process.wait()
