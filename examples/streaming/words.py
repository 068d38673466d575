"""Words that come one by one, as a language model says them, into a page that shows each at once.

    cd examples/streaming
    spawn -t 50 words:application

Who reads holds a thread. When the page stops reading, the server closes the generator, so that no more words are made.
"""

import time
from urllib.parse import parse_qs

PAUSE = 0.05  # seconds

PAGE = b"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Words</title>
<h1>Words</h1>
<form>
  <input name="about" aria-label="what about" value="servers"> <button>Ask</button>
  <button type="button" id="stop" disabled>Stop</button>
</form>
<p id="answer" aria-live="polite"></p>
<p id="state" role="status"></p>
<script>
const form = document.querySelector("form"), stop = document.querySelector("#stop");
const answer = document.querySelector("#answer"), state = document.querySelector("#state");

form.onsubmit = async event => {
  event.preventDefault();
  const asking = new AbortController();
  stop.onclick = () => asking.abort();
  stop.disabled = false;
  answer.textContent = "";
  state.textContent = "reading";
  try {
    const about = encodeURIComponent(form.about.value);
    const response = await fetch(`/answer?about=${about}`, {signal: asking.signal});
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let {value, done} = await reader.read(); !done; {value, done} = await reader.read()) answer.append(value);
    state.textContent = "finished";
  } catch (error) {
    state.textContent = error.name === "AbortError" ? "stopped" : "the connection has ended";
  }
  stop.disabled = true;
};
</script>
</html>
"""


def words(about):
    """Think of something to say. A model would be asked here."""
    for number in range(1, 101):
        yield f"{about} " if number % 7 else f"{about}. "
        time.sleep(PAUSE)


def answer(about, errors):
    said = 0
    try:
        for word in words(about):
            yield word.encode()
            said += 1
    except GeneratorExit:
        errors.write(f"nobody reads any more after {said} words\n")
        raise


def application(environ, start_response):
    if environ["PATH_INFO"] == "/answer":
        about = parse_qs(environ["QUERY_STRING"]).get("about", ["nothing"])[0]
        # No length, so it goes out in chunks as it comes. The last field is for nginx, which would collect it.
        fields = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
        start_response("200 OK", [*fields, ("X-Accel-Buffering", "no")])
        return answer(about, environ["wsgi.errors"])
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]
