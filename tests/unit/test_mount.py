"""``--script-name``: what the application sees of the path, and what it does not get at all."""

from collections.abc import Iterable

import pytest

from spawning.wsgi.mount import mounted
from unit.exchanges import Environ, StartResponse, run


def show(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode("latin-1")]


def seen(path: str, name: str = "/app", before: str = "") -> tuple[str, str]:
    """Return the status line and the body of a request for `path`."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": before}
    response = run(mounted(show, name), of=environ)
    assert response.keep_alive
    return response.head[0], response.body.decode("latin-1")


@pytest.mark.parametrize(("path", "rest"), [("/app", ""), ("/app/", "/"), ("/app/a/b", "/a/b"), ("/app//a", "//a")])
def test_the_path_is_what_follows(path: str, rest: str) -> None:
    assert seen(path) == ("HTTP/1.1 200 OK", f"/app|{rest}")


@pytest.mark.parametrize("path", ["/", "/application", "/other/app/", "/APP/", "//app/"])
def test_what_is_outside_is_not_found(path: str) -> None:
    assert seen(path) == ("HTTP/1.1 404 Not Found", "404 Not Found: the application is at /app/\n")


def test_a_question_to_the_server_as_a_whole_is_passed_on() -> None:
    assert seen("") == ("HTTP/1.1 200 OK", "/app|")


def test_a_prefix_of_the_proxy_comes_first() -> None:
    assert seen("/app/a", before="/outer")[1] == "/outer/app|/a"


def test_a_name_beyond_ascii_is_its_bytes() -> None:
    assert seen("/caf\u00c3\u00a9/a", name="/caf\u00e9")[1] == "/caf\u00c3\u00a9|/a"


def test_without_a_name_nothing_is_wrapped() -> None:
    assert mounted(show, None) is show
