"""Use an installed Spawning: ``python release/use.py DIRECTORY [OPTION …]``, by the Python that it is installed for.

Starts a server in the directory, with these options too, asks it, changes its code, reloads by a signal (or, with
``--reload dev``, waits for the change to be noticed), asks the new code, and stops it. Needs nothing but Spawning.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

CODE = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{}"]
"""
DEADLINE = 60.0  # seconds


def main() -> None:
    """Use it.

    :raises AssertionError: it does not work.
    """
    site, options = Path(sys.argv[1]), sys.argv[2:]
    watching = "--reload" in options
    site.mkdir(exist_ok=True)
    (site / "shop.py").write_text(CODE.format("old"))
    spawn = str(Path(sys.executable).parent / "spawn")
    command = [spawn, "shop:app", "--port", "0", "-s", "2", *options]
    log = site / "log"
    with log.open("w") as stream:
        server = subprocess.Popen(command, cwd=site, stderr=stream, stdout=subprocess.DEVNULL)
    try:
        url = found(r" ready url=(\S+)", log)
        assert ask(url) == "old"
        (site / "shop.py").write_text(CODE.format("something new"))
        if not watching:
            os.kill(server.pid, signal.SIGHUP)
        found(r" reload finished generation=(2) ", log)
        assert ask(url) == "something new"
        server.terminate()
        assert server.wait(DEADLINE) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        server.kill()
    how = "a changed file" if watching else "a signal"
    print(f"  Python {sys.version.split()[0]}, {' '.join(options)}: serves, reloads by {how}, stops", flush=True)


def found(pattern: str, log: Path) -> str:
    """Wait for a line of the log."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        if match := re.search(pattern, log.read_text()):
            return match[1]
        time.sleep(0.02)
    raise AssertionError(f"no {pattern} in {log.read_text()}")


def ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        return str(response.read().decode())


if __name__ == "__main__":
    main()
