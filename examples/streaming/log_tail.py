"""The lines of a growing file, live, as server-sent events. Each reader holds a thread, so there should be enough:

    cd examples/streaming
    LOG_FILE=/var/log/syslog spawn -s 1 -t 50 log_tail:application

An event's id is where in the file the next one begins. A browser whose connection has ended asks for what comes behind
the last id that it has, so it misses nothing, also at a reload.
"""

import os
import time

FILE = os.environ.get("LOG_FILE", "/var/log/syslog")
LAST = 4096  # bytes of the end that a new reader gets
LOOK_EVERY = 0.25  # seconds
HEARTBEAT = 15  # seconds of silence, of which proxies would think that it is the end

PAGE = b"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Log</title>
<h1>Log</h1>
<p id="state" role="status">connecting</p>
<pre id="lines"></pre>
<script>
const state = document.querySelector("#state"), lines = document.querySelector("#lines");
const source = new EventSource("/lines");
source.onopen = () => { state.textContent = "connected"; };
source.onerror = () => { state.textContent = "connecting again"; };
source.onmessage = event => { lines.append(event.data + "\\n"); };
</script>
</html>
"""


def events(start):
    """Yield the lines behind a place of the file, as they come; start over when the file does."""
    spoken = time.monotonic()
    yield b"retry: 500\n\n"
    with open(FILE, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if start is None:
            start = max(0, size - LAST)
        file.seek(start if start <= size else 0)
        while True:
            line = file.readline()
            if line.endswith(b"\n"):
                text = line.rstrip(b"\r\n").replace(b"\r", b" ")
                yield b"id: %d\ndata: %b\n\n" % (file.tell(), text)
                spoken = time.monotonic()
                continue
            file.seek(-len(line), os.SEEK_CUR)  # its end has not been written yet
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            time.sleep(LOOK_EVERY)
            if time.monotonic() - spoken > HEARTBEAT:
                spoken = time.monotonic()
                yield b": still here\n\n"
            else:
                yield b""  # nothing is sent, but the server looks whether there still is a reader


def application(environ, start_response):
    if environ["PATH_INFO"] == "/lines":
        last = environ.get("HTTP_LAST_EVENT_ID", "")
        start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])
        return events(int(last) if last.isdecimal() else None)
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]
