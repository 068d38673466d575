"""The examples, each in a browser, and through a reload."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.browser import PATIENCE, browser
from clients.page import Page
from integration.server import Server

EXAMPLES = Path(__file__).parents[2] / "examples" / "streaming"


@contextmanager
def example(
    name: str, directory: Path, *options: str, env: dict[str, str] | None = None
) -> Iterator[tuple[Server, Page]]:
    with (
        Server(f"{name}:application", "-s", "1", "-t", "8", *options, cwd=EXAMPLES, env=env) as server,
        browser(server.url, directory),
        Page(directory, server.url) as page,
    ):
        yield server, page


def test_the_chat(tmp_path: Path) -> None:
    with example("chat", tmp_path, "--deadman_timeout", "0.5") as (server, page):
        page.wait_for("connected")
        page.enter("text", "good morning")
        page.wait_for("good morning", "#said")
        assert server.reload()
        page.wait_for("closed (1012)")
        page.wait_for("connected")
        page.enter("text", "good evening")
        page.wait_for("good evening", "#said")
        assert "Traceback" not in server.log()


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "file.log"
    file.write_text("line 1\n")
    # The old worker ends the stream, and the browser reads on at the new one.
    options = ("--deadman_timeout", "0.5")
    with example("log_tail", tmp_path, *options, env={"LOG_FILE": str(file)}) as (server, page):
        page.wait_for("line 1", "#lines")
        with file.open("a") as log:
            print("line 2\nline", end="", file=log)
        page.wait_for("line 2\n", "#lines")
        assert server.reload()
        server.wait_for_log(r" worker (retired|killed|died) worker=1.1 ", PATIENCE)
        with file.open("a") as log:
            print(" 3", file=log)
        page.wait_for("line 3", "#lines")
        assert page.run("document.querySelector('#lines').textContent") == "line 1\nline 2\nline 3\n"
        file.write_text("anew\n")
        page.wait_for("anew", "#lines")


def test_the_long_poll(tmp_path: Path) -> None:
    with example("long_poll", tmp_path) as (server, page):
        page.enter("text", "first")
        page.wait_for("first", "#entries")
        page.enter("text", "second")
        page.wait_for("second", "#entries")
        assert page.run("document.querySelectorAll('li').length") == 2
        assert "Traceback" not in server.log()


def test_the_words(tmp_path: Path) -> None:
    with example("words", tmp_path) as (server, page):
        page.enter("about", "cats")
        page.wait_for("cats cats", "#answer")
        assert page.run("document.querySelector('#state').textContent") == "reading"  # it shows what has come by now
        page.run("document.querySelector('#stop').click()")
        page.wait_for("stopped", "#state")
        server.wait_for_log("nobody reads any more after ", PATIENCE)
