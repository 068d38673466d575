"""What a developer sees with ``--reload dev``: on the site, in the terminal, and of the pages that are open."""

import os
import signal
import sys
from pathlib import Path

import pytest

from integration.client import Client, Closed, request
from integration.server import Server, until
from integration.sites import version, write

APP = "site_app:application"
FINISHED = r" reload finished generation=(\d+) "
HTML = "Accept: text/html,application/xhtml+xml"

# /events is a stream that says one thing and then waits, for ever; /endless waits before its head.
STREAMS = """\
import threading

VERSION = {version!r}
TYPE = {kind!r}


def application(environ, start_response):
    if environ["PATH_INFO"] == "/events":
        start_response("200 OK", [("Content-Type", TYPE)])
        return events()
    if environ["PATH_INFO"] == "/waits":
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]


def events():
    yield f"data: {{VERSION}}\\n\\n".encode()
    threading.Event().wait()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(tmp_path, "1")
    return tmp_path


def streams(directory: Path, version: str, kind: str = "text/event-stream") -> None:
    (directory / "site_app.py").write_text(STREAMS.format(version=version, kind=kind))


def listen(client: Client, data: str) -> None:
    """Open the stream and read its one event."""
    client.send(request("/events"))
    client.wait_for(f"data: {data}\n\n".encode())


def page(server: Server, target: str = "/", *fields: str) -> str:
    with Client(server.port) as client:
        return client.get(target, "Connection: close", *fields).text


# A page in place of the site -----------------------------------------------------------------------------------------


def test_a_refused_change_is_shown_on_the_site_until_it_is_mended(site: Path) -> None:
    with Server(APP, "-s", "2", "--reload", "dev", cwd=site) as server:
        write(site, "2", before="raise RuntimeError('<b>not</b> & \\'now\\'')")
        server.wait_for_log(r" traceback served url=http://\S+ generation=3$")
        with Client(server.port) as client:
            response = client.get("/any/where?a=b", HTML)
            assert (response.status, response["cache-control"]) == (503, "no-store")
            assert response["content-type"] == "text/html; charset=utf-8"
            assert "RuntimeError: &lt;b&gt;not&lt;/b&gt; &amp; &#x27;now&#x27;" in response.text
            assert "<b>" not in response.text
            assert "changed: site_app.py" in response.text
            assert "http://" not in response.text, "nothing from elsewhere"
            assert "https://" not in response.text, "nothing from elsewhere"
            plain = client.get("/", "Accept: */*")
            assert (plain.status, plain["content-type"]) == (503, "text/plain; charset=utf-8")
            assert "RuntimeError: <b>not</b> & 'now'" in plain.text
            assert client.get("/", HTML, method="HEAD").status == 503
            assert client.post("/", b"form", HTML).status == 503
        mark = server.mark()
        write(site, "3")
        server.wait_for_log(FINISHED, after=mark)
        assert version(server.port) == "3"


def test_the_page_ends_its_stream_when_the_code_is_mended(site: Path) -> None:
    """By which the browser knows that it has to load the page anew."""
    with Server(APP, "-s", "1", "--reload", "dev", cwd=site) as server:
        write(site, "2", before="raise RuntimeError")
        server.wait_for_log(r" traceback served ")
        with Client(server.port) as own, Client(server.port) as foreign:
            own.send(request("/?spawning-refusal", "Accept: text/event-stream"))
            own.wait_for(b"data: 2\n\n")
            foreign.send(request("/events", "Accept: text/event-stream"))  # of a page of the site that is open still
            foreign.wait_for(b": \n\n")
            write(site, "3")
            for client in (own, foreign):
                with pytest.raises(Closed):
                    client.wait_for(b"data: nothing")
        assert version(server.port) == "3"


def test_a_first_start_that_fails_is_shown_too(tmp_path: Path) -> None:
    write(tmp_path, "1", before="raise RuntimeError('not yet')")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path, ready=False) as server:
        server.port = int(server.wait_for_log(r" traceback served url=http://127.0.0.1:(\d+) generation=2$")[1])
        assert "RuntimeError: not yet" in page(server, "/", HTML)
        mark = server.mark()
        write(tmp_path, "2", before="raise RuntimeError('not yet either')")
        server.wait_for_log(r" start refused, waiting for a change generation=3 ", after=mark)
        server.wait_for_log(r" traceback served .* generation=4$", after=mark)
        assert "RuntimeError: not yet either" in page(server)
        write(tmp_path, "3")
        server.wait_ready()
        assert version(server.port) == "3"
        assert "RuntimeError" not in page(server)


def test_so_is_a_factory_that_fails_at_the_first_start(tmp_path: Path) -> None:
    factory = (
        "def config_factory(values):\n"
        "    {}\n"
        "    return {{**values, 'app_factory': 'spawning.wsgi_factory.app_factory'}}\n"
    )
    write(tmp_path, "1")
    (tmp_path / "ours.py").write_text(factory.format("raise RuntimeError('no settings yet')"))
    with Server(APP, "-f", "ours.config_factory", "-s", "1", "--reload", "dev", cwd=tmp_path, ready=False) as server:
        server.port = int(server.wait_for_log(r" traceback served url=http://127.0.0.1:(\d+) generation=2$")[1])
        assert "RuntimeError: no settings yet" in page(server, "/", HTML)
        (tmp_path / "ours.py").write_text(factory.format("pass"))
        server.wait_ready()
        assert version(server.port) == "1"


@pytest.mark.parametrize("arguments", [[], ["--reload", "git"]])
def test_no_page_is_shown_to_the_public(site: Path, arguments: list[str]) -> None:
    (site / ".git").mkdir()
    for name, text in (("HEAD", "ref: refs/heads/main\n"), ("refs/heads/main", f"{'0' * 40}\n")):
        (site / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
        (site / ".git" / name).write_text(text)
    with Server(APP, "-s", "1", *arguments, cwd=site) as server:
        write(site, "2", before="raise RuntimeError('not now')")
        assert not server.reload()
        server.wait_for_log(r" ERROR reload refused; generation 1 serves on$")
        server.wait_for_log(r' reload refused generation=2 reason=".*: RuntimeError: not now" serving=1$')
        assert page(server, "/", HTML) == "1"
        write(site, "3")
        assert server.reload()
        assert "traceback served" not in server.log()


def test_the_factory_of_the_page_is_no_factory_to_be_named(site: Path) -> None:
    server = Server("-f", "spawning.refusal_page.config_factory", "x", cwd=site, ready=False)
    with server:
        assert server.wait() == 2
    assert "spawning.refusal_page is no factory to be named" in server.log()


# Event streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "threads"),
    [
        ("text/event-stream; charset=utf-8", "4"),
        ("text/event-stream", "0"),
        ("multipart/x-mixed-replace; boundary=b", "4"),
    ],
)
def test_an_open_stream_ends_at_a_reload_while_developing(tmp_path: Path, kind: str, threads: str) -> None:
    streams(tmp_path, "1", kind)
    with Server(APP, "-s", "1", "-t", threads, "--reload", "dev", cwd=tmp_path) as server:
        with Client(server.port) as client:
            listen(client, "1")
            streams(tmp_path, "2", kind)
            with pytest.raises(Closed):
                client.wait_for(b"data: nothing")
        server.wait_for_log(r" worker retired worker=1.1 ")  # nobody waits for the thread of the stream
        assert "request given up" not in server.log()
        assert page(server) == "2"


def test_a_request_that_is_no_stream_is_waited_for(tmp_path: Path) -> None:
    streams(tmp_path, "1")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        with Client(server.port) as client, Client(server.port) as stream:
            client.send(request("/waits"))
            listen(stream, "1")
            streams(tmp_path, "2")
            with pytest.raises(Closed):
                stream.wait_for(b"data: nothing")
            server.wait_for_log(FINISHED)
            assert [worker.generation for worker in server.wait_workers(2)] == [1, 2]
        server.stop(signal.SIGQUIT)


@pytest.mark.parametrize("arguments", [["-t", "4"], ["-t", "0"], ["--reload", "dev"]])
def test_ctrl_c_does_not_wait_for_streams_of_any_generation(tmp_path: Path, arguments: list[str]) -> None:
    streams(tmp_path, "1")
    with Server(APP, "-s", "1", *arguments, cwd=tmp_path) as server, Client(server.port) as old:
        listen(old, "1")
        streams(tmp_path, "2")
        if "--reload" in arguments:
            server.wait_for_log(FINISHED)
        else:
            assert server.reload()
        with Client(server.port) as new:
            listen(new, "2")
            assert server.stop(signal.SIGINT) == 0


def test_term_waits_for_streams(tmp_path: Path) -> None:
    streams(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server, Client(server.port) as client:
        listen(client, "1")
        server.signal(signal.SIGTERM)
        server.wait_for_log(r" stopping signal=SIGTERM")
        assert len(server.workers()) == 1
        server.signal(signal.SIGINT)
        server.wait()


@pytest.mark.parametrize("threads", ["4", "0"])
def test_old_generations_do_not_pile_up(tmp_path: Path, threads: str) -> None:
    streams(tmp_path, "1")
    with Server(APP, "-s", "1", "-t", threads, "--max-old-generations", "2", cwd=tmp_path) as server:
        clients = [Client(server.port) for _ in range(3)]
        for client in clients:
            listen(client, "1")
            assert server.reload()
        reason = r"more than 2 old generations \(--max-old-generations\)"
        server.wait_for_log(rf' worker killed worker=1.1 pid=\d+ reason="{reason}"$')
        assert [worker.generation for worker in server.wait_workers(3)] == [2, 3, 4]
        for client in clients:
            client.close()
        server.stop(signal.SIGQUIT)


# Many changes --------------------------------------------------------------------------------------------------------


def test_a_good_change_serves_although_a_broken_one_comes_while_it_loads(tmp_path: Path) -> None:
    write(tmp_path, "1")
    leave = tmp_path / "leave"
    os.mkfifo(leave)
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        write(tmp_path, "2", before=f"import sys\nprint('loading', file=sys.stderr)\nopen({str(leave)!r}).read()")
        server.signal(signal.SIGHUP)
        server.wait_for_log("^loading$")
        write(tmp_path, "3", before="raise RuntimeError('broken')")
        server.signal(signal.SIGHUP)
        server.wait_for_log(r" reload refused generation=3 ")
        assert version(server.port) == "1"
        leave.open("w").close()
        server.wait_for_log(r" reload finished generation=2 ")
        assert version(server.port) == "2"
        assert "abandoned" not in server.log()


# A fork server that is there before it is needed ---------------------------------------------------------------------


def spare(server: Server) -> list[int]:
    title = "spawning: fork server, not used yet"
    return [process.pid for process in server.processes() if " ".join(process.cmdline()).startswith(title)]


def test_a_change_is_loaded_by_the_spare(site: Path) -> None:
    with Server(APP, "-s", "1", "--reload", "dev", cwd=site) as server:
        waiting = until(lambda: spare(server), "a spare")
        write(site, "2")
        server.wait_for_log(FINISHED)
        assert [each.pid for each in server.fork_servers() if each.generation == 2] == waiting
        assert version(server.port) == "2"
        os.kill(until(lambda: spare(server), "another spare")[0], signal.SIGKILL)  # nobody notices
        mark = server.mark()
        write(site, "3")
        server.wait_for_log(FINISHED, after=mark)
        assert version(server.port) == "3"


def test_a_spare_of_another_installation_is_not_used(site: Path, tmp_path: Path) -> None:
    environ = {"PYTHONUSERBASE": str(tmp_path / "base")}
    with Server(APP, "-s", "1", "--reload", "dev", cwd=site, env=environ) as server:
        waiting = until(lambda: spare(server), "a spare")
        directory = tmp_path / "base" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        (directory / "site-packages").mkdir(parents=True)
        write(site, "2")
        server.wait_for_log(FINISHED)
        assert [each.pid for each in server.fork_servers() if each.generation == 2] != waiting


def test_there_is_none_where_nobody_develops(site: Path) -> None:
    with Server(APP, "-s", "1", cwd=site) as server:
        assert server.reload()
        assert spare(server) == []
