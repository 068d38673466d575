"""A queue that is read by long polls: a request waits until there is something for it, or for half a minute.

    cd examples/streaming
    spawn -s 1 -t 50 long_poll:application

Each that waits holds a thread, until its client has gone. What has been put is known to one process, so there is one
worker. At a reload a poll that waits is answered by the old code, and the page's next one by the new: it begins anew,
which the page sees from the name of the queue.
"""

import json
import threading
import uuid
from urllib.parse import parse_qs

PATIENCE = 30  # seconds, less than proxies have
KEPT = 1000  # entries

PAGE = b"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Queue</title>
<h1>Queue</h1>
<ul id="entries"></ul>
<form><input name="text" aria-label="entry" autocomplete="off" autofocus> <button>Put</button></form>
<script>
const entries = document.querySelector("#entries"), form = document.querySelector("form");

form.onsubmit = event => {
  event.preventDefault();
  fetch("/put", {method: "POST", body: form.text.value});
  form.reset();
};

async function poll() {
  let queue = "", next = 0;
  while (true) {
    try {
      const answer = await (await fetch(`/next?queue=${queue}&from=${next}`)).json();
      ({queue, next} = answer);
      for (const text of answer.entries) {
        const line = document.createElement("li");
        line.textContent = text;
        entries.append(line);
      }
    } catch {
      await new Promise(resolve => setTimeout(resolve, 500));
    }
  }
}

poll();
</script>
</html>
"""


class Queue:
    """Entries, each with a number; the oldest are dropped.

    :ivar name: another one after each reload, so that numbers are not mistaken for its own.
    """

    def __init__(self):
        self.name = uuid.uuid4().hex
        self.entries = []
        self.dropped = 0
        self.changed = threading.Condition()

    def put(self, text):
        with self.changed:
            self.entries.append(text)
            if len(self.entries) > KEPT:
                del self.entries[0]
                self.dropped += 1
            self.changed.notify_all()

    def take(self, name, number, gone):
        """Wait for entries from a number on, as what is sent to the page, unless that has gone meanwhile."""
        start = number if name == self.name else 0
        with self.changed:
            for _ in range(PATIENCE):
                if self.changed.wait_for(lambda: self.dropped + len(self.entries) > start, 1) or gone():
                    break
            entries = self.entries[max(0, start - self.dropped) :]
            return {"queue": self.name, "next": self.dropped + len(self.entries), "entries": entries}


queue = Queue()


def application(environ, start_response):
    kind, body = "text/html; charset=utf-8", PAGE
    if environ["PATH_INFO"] == "/put":
        queue.put(environ["wsgi.input"].read().decode("utf-8", "replace"))
        kind, body = "text/plain", b"put\n"
    elif environ["PATH_INFO"] == "/next":
        asked = parse_qs(environ["QUERY_STRING"])
        name, number = asked.get("queue", [""])[0], asked.get("from", ["0"])[0]
        start = int(number) if number.isdecimal() else 0
        answer = queue.take(name, start, environ["spawning.client_disconnected"])
        kind, body = "application/json", json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
