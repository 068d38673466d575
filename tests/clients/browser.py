"""Chromium, without a window and without a network: a page that stays open while a test goes on."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from clients.programs import program
from integration.server import DEADLINE

PATIENCE = 4 * DEADLINE  # seconds; for what a page does: a browser takes a while to start on a loaded machine

OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # it asks nobody else
    "--remote-debugging-port=0",  # or it ends when it has loaded the page
)


@contextlib.contextmanager
def browser(url: str, directory: Path, *options: str) -> Iterator[None]:
    """Have a page open in a browser of its own, which ends with all of its processes."""
    command = [program("chromium"), *OPTIONS, *options, f"--user-data-dir={directory / 'profile'}", url]
    with (directory / "browser.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    except AssertionError as error:
        error.add_note(f"the browser:\n{(directory / 'browser.log').read_text('utf-8', 'replace')}")
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has failed, and has been reaped
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE)
