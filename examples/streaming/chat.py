"""A chat over WebSockets: what one says, all get. Who is there is known to one process, so it needs one worker:

    cd examples/streaming
    spawn -s 1 chat:application

At a reload those who are connected stay with the old code, until --deadman_timeout; then their connections are closed
with code 1012, and the page opens another one.
"""

import contextlib
import threading

from spawning.websocket import ConnectionClosed, WebSocketWSGI

PAGE = b"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<h1>Chat</h1>
<p id="state" role="status">connecting</p>
<ul id="said"></ul>
<form><input name="text" aria-label="message" autocomplete="off" autofocus> <button>Say</button></form>
<script>
const state = document.querySelector("#state"), said = document.querySelector("#said");
const form = document.querySelector("form");
let socket;

function connect() {
  socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/socket`);
  socket.onopen = () => { state.textContent = "connected"; };
  socket.onmessage = event => {
    const line = document.createElement("li");
    line.textContent = event.data;
    said.append(line);
  };
  socket.onclose = event => {
    state.textContent = `closed (${event.code}), connecting again`;
    setTimeout(connect, 500);
  };
}

form.onsubmit = event => {
  event.preventDefault();
  if (socket.readyState === WebSocket.OPEN) socket.send(form.text.value);
  form.reset();
};

connect();
</script>
</html>
"""

room = set()
changing = threading.Lock()


def say(text):
    with changing:
        present = list(room)
    for each in present:
        with contextlib.suppress(ConnectionClosed):  # it has left meanwhile
            each.send(text)


@WebSocketWSGI
def talk(ws):
    with changing:
        room.add(ws)
    try:
        for text in ws:
            say(text)
    finally:
        with changing:
            room.discard(ws)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/socket":
        return talk(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]
