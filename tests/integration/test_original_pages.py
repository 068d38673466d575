"""``--sysinfo`` and ``--coverage``: the original's pages, on the status service."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.client import Client, Response, fetch
from integration.server import Finished, Server, run, until
from integration.status import STATUS, status, status_port

APP = """\
import os
import threading
from spawning.lifecycle import on_exit

def executed(environ, start_response):
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

def in_thread():
    os.getpid()

def not_executed():
    os.getppid()

@on_exit
def at_the_end():
    os.getpgrp()

def application(environ, start_response):
    return executed(environ, start_response)
"""
LINES = APP.splitlines()
OPTIONS = ("lines_app:application", "-s", "2", "-t", "2", *STATUS, "--sysinfo")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    (site / "lines_app.py").write_text(APP)
    return site


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[Server]:
    variables = {"SECRET_KEY": "very-secret", "DJANGO_SETTINGS_MODULE": "of.mine", "COVERAGE_PROCESS_CONFIG": ""}
    with Server(*OPTIONS, "-c", cwd=site, env=variables) as server:
        yield server


def where(name: str) -> int:
    """Return the number of the line with a text."""
    return next(number for number, line in enumerate(LINES, 1) if name in line)


def executed(port: int, directory: Path) -> set[int]:
    """Return the numbers of the lines that have been executed."""
    data = fetch(port, "/_coverage/data")
    if data.status == 503:
        return set()
    assert data["content-disposition"] == "attachment; filename=.coverage"
    (directory / "data").write_bytes(data.body)
    from coverage import CoverageData

    found = CoverageData(str(directory / "data"))
    found.read()
    (path,) = [path for path in found.measured_files() if path.endswith("lines_app.py")]
    assert [each for each in found.measured_files() if "/spawning/" in each] == []
    return set(found.lines(path) or ())


def page(port: int, path: str) -> Response:
    found = fetch(port, path)
    assert found.status == 200, found.text
    return found


def test_system(server: Server, site: Path) -> None:
    port = status_port(server)
    until(lambda: fetch(port, "/_sysinfo").status == 200, "a worker that has said what it is")
    found = page(port, "/_sysinfo")
    assert found["content-type"] == "text/html; charset=utf-8"
    for shown in (str(site), "lines_app", "coverage", "of.mine", "SECRET_KEY", "(hidden)"):
        assert shown in found.text
    assert "very-secret" not in found.text


def test_lines_of_all_workers(server: Server, site: Path, tmp_path: Path) -> None:
    port = status_port(server)
    asked = {fetch(server.port, "/").text for _ in range(20)}
    assert asked <= {str(each.pid) for each in server.workers()}
    wanted = {where("import os"), where("os.getpid()"), where("start_response(")}
    until(lambda: wanted <= executed(port, tmp_path), "the lines of requests and their threads")
    assert where("os.getppid()") not in executed(port, tmp_path)
    answer = fetch(port, "/_coverage")
    assert (answer.status, answer["location"]) == (308, "_coverage/")
    index = page(port, "/_coverage/")
    assert index["content-type"] == "text/html; charset=utf-8"
    (name,) = set(re.findall(r'href="([\w.]*lines_app_py\.html)"', index.text))
    lines = page(port, f"/_coverage/{name}").text
    assert "not_executed" in lines
    for each in re.findall(r'(?:src|href)="([\w.]+\.(?:css|js|png|html))"', index.text + lines):
        assert fetch(port, f"/_coverage/{each}").status == 200
    assert re.findall(r"<script>|<style>|javascript:", index.text + lines) == []  # which would not be run
    for path in ("nothing.html", "../data", "%2e%2e/data", "..%2f..%2fsystem-1.json", "", "/"):
        assert fetch(port, f"/_coverage/{path}").status in (200, 404)
    assert fetch(port, "/_coverage/..%2f..%2fsystem-1.json").status == 404


def test_a_reload_begins_anew(server: Server, site: Path, tmp_path: Path) -> None:
    port = status_port(server)
    (site / "lines_app.py").write_text("# another line\n" + APP)
    assert server.reload()
    serving = status(port)["serving"]
    until(lambda: status(port)["serving"] > serving or executed(port, tmp_path), "lines of the new generation")
    assert where("os.getpid()") + 1 not in executed(port, tmp_path)
    fetch(server.port, "/")
    until(lambda: where("os.getpid()") + 1 in executed(port, tmp_path), "the lines of a request")


def test_who_may_see_it(server: Server, site: Path) -> None:
    port = status_port(server)
    for path in ("/_sysinfo", "/_coverage/", "/_coverage/data"):
        with Client(port) as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: site.example\r\n\r\n".encode())
            assert client.read().status == 403
        assert fetch(port, path, method="POST").status == 405
        assert fetch(server.port, path).text.isdecimal()  # the application's


def test_with_a_token_and_where_each_worker_imports_the_application(site: Path) -> None:
    options = ("--status-token", "very-secret", "--no-preload", "--coverage")
    with Server(*OPTIONS, *options, cwd=site, env={"COVERAGE_PROCESS_CONFIG": ""}) as server:
        port = status_port(server)
        for path in ("/_sysinfo", "/_coverage", "/_coverage/", "/_coverage/data", "/_coverage/style.css"):
            assert fetch(port, path).status == 401
        token = "Authorization: Bearer very-secret"
        until(lambda: "lines_app" in fetch(port, "/_coverage/", token).text, "the application among the pages")
        assert "lines_app" in fetch(port, "/_sysinfo", token).text
        assert server.stop() == 0


@pytest.mark.parametrize("option", ["--sysinfo", "--coverage"])
def test_without_a_status_service(option: str, site: Path) -> None:
    done = run("lines_app:application", "--port", "0", option, cwd=site)
    assert done == Finished(2, "", f"spawn: option {option}: there is no --status, which would show it")


def test_coverage_that_is_missing(site: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'coverage' else find(name, *rest)\n"
    )
    for question in ([], ["--check-config"]):
        options = ["lines_app:application", "--port", "0", *STATUS, "--coverage", *question]
        done = run(*options, cwd=site, env={"PYTHONPATH": str(tmp_path), "COVERAGE_PROCESS_CONFIG": ""})
        assert done.status == 2
        line = "option --coverage needs coverage, the extra spawning[coverage]: pip install coverage"
        assert line in done.err


def test_a_configuration_of_coverage_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "lines_app.py").write_text(APP)
    (tmp_path / ".coveragerc").write_text("[run]\nbranch = perhaps\n")
    done = run("lines_app:application", "--port", "0", *STATUS, "--coverage", cwd=tmp_path)
    assert done.status == 2
    assert "option --coverage: coverage does not start: " in done.err
