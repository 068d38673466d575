"""Coroutines (``-t 0``): what is particular about them. Promises, HTTP and WSGI are tried with them where they are
tried at all (``conftest.py``).
"""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.client import Client, Closed, fetch, request
from integration.control import spawnctl
from integration.server import Server, run, until

OPTIONS = ("greens.application", "-s", "1", "-t", "0", "-l", "/dev/null")


@pytest.fixture(scope="module")
def greens() -> Iterator[Server]:
    with Server(*OPTIONS, "--no-keepalive", "--ready-path", "/ready") as server:
        yield server


def ask(server: Server, target: str) -> Client:
    client = Client(server.port)
    client.send(request(target))
    return client


def count(server: Server) -> int:
    return int(fetch(server.port, "/count").body)


# Waiting --------------------------------------------------------------------------------------------------------------


def test_a_thousand_requests_wait_in_one_thread_and_others_are_answered_meanwhile() -> None:
    with Server(*OPTIONS) as server:
        (worker,) = server.workers()
        clients = [ask(server, "/poll") for _ in range(1000)]
        until(lambda: count(server) == 1000, "all wait")
        assert fetch(server.port, "/happen").body == b"now"
        assert {client.read().body for client in clients} == {b"it has happened"}
        assert {client.get("/pid").text for client in clients[:50]} == {str(worker.pid)}
        for client in clients:
            client.close()


def test_requests_that_come_at_once_are_all_begun_though_the_first_waits() -> None:
    """Nothing else happens afterwards, which could remind anybody of those that are left."""
    with Server(*OPTIONS) as server:
        clients = [Client(server.port) for _ in range(4 * 16)]  # 16 at a time are handled (worker/greenlets.py)
        for client in clients:
            assert client.get("/pid").status == 200
        (worker,) = server.workers()
        os.kill(worker.pid, signal.SIGSTOP)
        for client in clients:
            client.send(request("/silent"))
        os.kill(worker.pid, signal.SIGCONT)
        for client in clients:
            client.wait_for(b"begun")
        for client in clients:
            client.close()


def test_more_than_may_be_executed_wait_their_turn_and_not_for_ever() -> None:
    with Server(*OPTIONS, "--max-green", "2", "--queue-timeout", "0.5") as server:
        clients = [ask(server, "/silent?slow") for _ in range(2)]
        for client in clients:
            client.wait_for(b"begun")
        with Client(server.port) as client:
            assert client.get("/pid").status == 503
        server.wait_for_log(r" requests waited too long for a thread count=1 seconds=0\.5")
        for client in clients:
            client.close()


def test_a_slow_reader_holds_up_nobody(greens: Server) -> None:
    slow = [ask(greens, "/large") for _ in range(3)]
    for client in slow:
        client.wait_for(b"\r\n\r\n")
    assert fetch(greens.port, "/pid").status == 200
    for client in slow:
        assert len(client.read_eof()) > 15 << 20
        client.close()


def test_what_the_import_has_started_goes_on_in_each_worker(greens: Server) -> None:
    assert fetch(greens.port, "/beating").body == b"True"


def test_what_the_import_of_each_worker_starts_goes_on() -> None:
    with Server(*OPTIONS, "--no-preload", "--ready-path", "/ready") as server:
        assert fetch(server.port, "/beating").body == b"True"


@pytest.mark.parametrize(("target", "answer"), [
    ("/fork", b"from a program"), ("/program", b"ended"), ("/leaving", b"still here"),
])  # fmt: skip
def test_processes_and_greenlets_of_the_applications_are_its_own(greens: Server, target: str, answer: bytes) -> None:
    with ask(greens, "/silent") as other:
        other.wait_for(b"begun")
        pid = fetch(greens.port, "/pid").body
        assert fetch(greens.port, target).body == answer
        assert fetch(greens.port, "/pid").body == pid


def test_requests_that_a_forked_process_has_copies_of_do_not_go_on_there(greens: Server) -> None:
    """They would end it, and answer the worker's clients: those that wait are woken in both processes."""
    with ThreadPoolExecutor(4) as pool:
        sleepers = [pool.submit(fetch, greens.port, "/own?a") for _ in range(2)]
        assert fetch(greens.port, "/fork").body == b"from a program"
        assert [each.result().body for each in sleepers] == [b"True"] * 2


def test_a_time_out_that_a_request_has_left_behind_harms_nobody(greens: Server) -> None:
    assert fetch(greens.port, "/overtime").body == b"started"
    for _ in range(4):
        assert fetch(greens.port, "/own?b").body == b"True"
    assert "bug in Spawning" not in greens.log()


def test_lines_and_locals_belong_to_one_greenlet(greens: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert {each.body for each in pool.map(lambda name: fetch(greens.port, f"/own?{name}"), "abcd")} == {b"True"}
        list(pool.map(lambda name: fetch(greens.port, f"/lines?{name}"), "abcd"))
    for name in "abcd":
        greens.wait_for_log(f"^begun by {name}, ended by {name}$")


# Clients that go ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["silent", "empty"])
def test_a_stream_that_sends_nothing_is_closed_when_its_client_has_gone(greens: Server, way: str) -> None:
    with ask(greens, f"/{way}?the+{way}+one") as client:
        client.wait_for(b"begun")
    greens.wait_for_log(rf"^the\+{way}\+one is closed")
    assert "Traceback" not in greens.log()


def test_the_application_may_ask_while_it_waits(greens: Server) -> None:
    mark = greens.mark()
    ask(greens, "/asking").close()
    greens.wait_for_log("^asked, and nobody is there", after=mark)


def test_work_before_the_response_is_done_whoever_waits() -> None:
    with Server(*OPTIONS) as server:
        ask(server, "/late").close()
        until(lambda: count(server), "it waits")
        with ask(server, "/silent?other") as client:
            client.wait_for(b"begun")
        server.wait_for_log("^other is closed")  # which has come later, and waited as long
        assert fetch(server.port, "/happen").status == 200
        server.wait_for_log("^the work is done")


# What does not yield, and what does not end ---------------------------------------------------------------------------


def test_a_call_that_does_not_yield_is_named_once_with_its_stack() -> None:
    with Server(*OPTIONS) as server:
        for _ in range(2):
            assert fetch(server.port, "/block").body == b"blocked"
        line = r" WARNING a request does not yield, all others of its worker wait worker=1\.1 method=GET path='/block'"
        server.wait_for_log(line)
        server.wait_for_log(r"greens\.py\", line \d+, in block$")
        assert server.stop() == 0
        assert server.log().count(" does not yield") == 1


@pytest.mark.parametrize(("target", "replaced"), [("/poll", False), ("/compute", True)])
def test_a_request_that_takes_too_long_is_interrupted(target: str, replaced: bool) -> None:
    with Server(*OPTIONS, "--request-timeout", "1") as server:
        with ask(server, target) as client:
            answer = client.read()
            assert (answer.status, answer.closes) == (504, True)
        server.wait_for_log(rf" ERROR request timed out worker=1\.1 method=GET path='{target}' seconds=")
        server.wait_for_log(rf"greens\.py\", line \d+, in {target[1:]}$")
        if replaced:
            server.wait_for_log(r' worker recycled worker=1\.1 .* reason="a request was interrupted')
        assert fetch(server.port, "/pid").status == 200
        assert server.stop() == 0
        assert ("recycled" in server.log()) == replaced


@pytest.mark.parametrize("target", ["/poll", "/compute"])
def test_what_does_not_end_is_given_up_when_the_worker_leaves(target: str) -> None:
    with Server(*OPTIONS, "--deadman_timeout", "1") as server, ask(server, target) as client:
        if target == "/poll":
            until(lambda: count(server), "it waits")
        else:
            server.wait_for_log(" does not yield")
        server.signal(signal.SIGTERM)
        server.wait_for_log(rf" ERROR request given up worker=1\.1 method=GET path='{target}' seconds=")
        server.wait_for_log(rf"greens\.py\", line \d+, in {target[1:]}$")
        server.wait()
        with pytest.raises(Closed):
            client.read()


def test_spawnctl_shows_requests_and_stacks_of_greenlets(tmp_path: Path) -> None:
    path = tmp_path / "ctl.sock"
    with Server(*OPTIONS, "--control-socket", str(path)) as server:
        clients = [ask(server, "/poll") for _ in range(3)]
        until(lambda: count(server) == 3, "all wait")
        requests = spawnctl("-S", path, "requests").out
        assert requests.count("GET /poll") == 3
        assert "greenlet" in requests
        stacks = spawnctl("-S", path, "stacks", "1.1").out
        assert "in poll\n" in stacks
        assert fetch(server.port, "/happen").status == 200
        for client in clients:
            assert client.read().body == b"it has happened"
            client.close()


# Reload ---------------------------------------------------------------------------------------------------------------


def test_streams_of_old_code_go_on_beside_the_new_one_and_end_with_the_deadline() -> None:
    with Server(*OPTIONS, "--deadman_timeout", "2") as server, ask(server, "/silent") as client:
        client.wait_for(b"begun")
        old = fetch(server.port, "/pid").body
        assert server.reload()
        assert fetch(server.port, "/pid").body != old
        server.wait_for_log(r" ERROR request given up worker=1\.1 method=GET path='/silent'")
        with pytest.raises(Closed):
            client.read()


# Bad input ------------------------------------------------------------------------------------------------------------


def test_without_gevent_one_line_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "gevent.py").write_text("raise ImportError('there is none')\n")
    finished = run("basics.application", "-t", "0", env={"PYTHONPATH": str(tmp_path)})
    line = "option --threads 0 needs gevent, the extra spawning[green]: pip install gevent"
    assert (finished.status, finished.err) == (2, f"spawn: {line}")


def test_an_application_that_patches_too_is_served(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(
        "from gevent import monkey; monkey.patch_all()\nfrom greens import application\n"
    )
    env = {"PYTHONPATH": str(Path(__file__).parent / "apps")}
    with Server("site_app", "-s", "1", "-t", "0", cwd=tmp_path, env=env) as server:
        assert fetch(server.port, "/own?c").body == b"True"


FACTORY = """\
def config_factory(args):
    return {**args, "threadpool_workers": THREADS, "app_factory": "green_factory.app_factory"}

def app_factory(config):
    from greens import application
    return application
"""


def test_a_factory_may_say_it(tmp_path: Path) -> None:
    (tmp_path / "green_factory.py").write_text(FACTORY.replace("THREADS", "0"))
    env = {"PYTHONPATH": str(Path(__file__).parent / "apps")}
    with Server("-f", "green_factory.config_factory", "app", "-s", "1", cwd=tmp_path, env=env) as server:
        assert fetch(server.port, "/own?d").body == b"True"
    (tmp_path / "green_factory.py").write_text(FACTORY.replace("THREADS", "4"))
    finished = run("-f", "green_factory.config_factory", "app", "-t", "0", cwd=tmp_path, env=env)
    assert finished.err == "spawn: factory green_factory.config_factory gives threads=4 in place of 0"
