"""``--ready-path``: the new code answers a request before anybody is served by it, or it is refused."""

from pathlib import Path

import pytest

from integration.server import Server, run
from integration.sites import version, write

APP = "site_app:application"

_HEALTH = """\
def application(environ, start_response, serve=application):
    if environ["PATH_INFO"] == "/healthz":
        {health}
    return serve(environ, start_response)
"""


def write_site(directory: Path, number: str, health: str) -> None:
    """Write a version of the site whose ``/healthz`` does what the statement `health` says."""
    path = write(directory, number)
    path.write_text(f"{path.read_text()}\n\n{_HEALTH.format(health=health)}")


def answer(status: str, fields: str = "[]", body: str = "") -> str:
    return f"start_response({status!r}, {fields}); return [{body.encode()!r}]"


FINE = answer("204 No Content")


@pytest.mark.parametrize("preload", [[], ["--no-preload"]], ids=["preload", "no-preload"])
def test_a_generation_that_fails_the_check_is_refused(tmp_path: Path, preload: list[str]) -> None:
    write_site(tmp_path, "1", FINE)
    with Server(APP, "-s", "2", "--ready-path", "/healthz", *preload, cwd=tmp_path) as server:
        write_site(tmp_path, "2", answer("500 Internal Server Error", body="no database"))
        assert not server.reload()
        server.wait_for_log(r'refused generation=2 reason="GET /healthz answered 500 .*body: no database; expected 2')
        assert version(server.port) == "1"
        assert [worker.generation for worker in server.wait_workers(2)] == [1, 1]
        write_site(tmp_path, "3", FINE)
        assert server.reload()
        assert version(server.port) == "3"


def test_a_redirect_is_refused_unless_it_is_expected(tmp_path: Path) -> None:
    health = answer("302 Found", "[('Location', '/login')]")
    write_site(tmp_path, "1", health)
    arguments = (APP, "-s", "1", "--ready-path", "/healthz")
    finished = run(*arguments, cwd=tmp_path)
    assert finished.status == 3
    assert "spawn: GET /healthz answered 302 Found, Location: /login; expected 200-299" in finished.err
    with Server(*arguments, "--ready-status", "200-399", cwd=tmp_path) as server:
        assert version(server.port) == "1"


def test_one_that_raises_shows_its_traceback_once(tmp_path: Path) -> None:
    write_site(tmp_path, "1", "raise RuntimeError('not today')")
    finished = run(APP, "-s", "2", "--ready-path", "/healthz", cwd=tmp_path)
    assert finished.status == 3
    assert finished.err.count("\nRuntimeError: not today\n") == 1
    assert "spawn: GET /healthz failed: RuntimeError: not today (--ready-path)" in finished.err


def test_one_that_hangs_is_refused_with_the_place(tmp_path: Path) -> None:
    write_site(tmp_path, "1", FINE)
    with Server(APP, "-s", "1", "--ready-path", "/healthz", "--boot-timeout", "4", cwd=tmp_path) as server:
        write_site(tmp_path, "2", "import threading; threading.Event().wait()")
        assert not server.reload()
        server.wait_for_log(r"reload refused generation=2 reason=\"GET /healthz was not answered within")
        assert "threading.Event().wait()" in server.log()
        assert version(server.port) == "1"


def test_the_host_that_is_asked_for(tmp_path: Path) -> None:
    write_site(tmp_path, "1", "assert environ['HTTP_HOST'] == 'www.example.com'; " + FINE)
    with Server(APP, "-s", "1", "--ready-path", "/healthz", "--ready-host", "www.example.com", cwd=tmp_path) as server:
        assert version(server.port) == "1"
