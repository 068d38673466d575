"""Workers are replaced while they serve, one at a time, from memory, and no client notices."""

from pathlib import Path

from integration.client import Client
from integration.load import Load
from integration.server import Server, until
from integration.sites import version, write

APP = "site_app:application"
RECYCLED = r" INFO worker recycled worker=1\.\d+ pid=\d+ reason="


def test_under_load_nothing_fails_and_nothing_is_closed(tmp_path: Path) -> None:
    write(tmp_path, "1")
    options = ("-s", "2", "-t", "4", "-l", "/dev/null", "--max-requests", "50", "--max-requests-jitter", "50")
    with Server(APP, *options, cwd=tmp_path) as server, Client(server.port) as idle:
        assert idle.get("/").text == "1"
        with Load(server.port, fresh=2, kept=4) as load:
            for count in range(5):
                mark = server.mark()
                server.wait_for_log(RECYCLED + r'"\d+ requests \(--max-requests 50\)"$', after=mark)
                server.wait_for_log(r" worker retired ", after=mark)
                assert count or idle.get("/").text == "1"
        assert load.failures == []
        assert sum(story.goodbyes for story in load.kept) == 0
        assert idle.get("/").text == "1"
        assert " worker died " not in server.log()
        assert " worker killed " not in server.log()


def test_a_broken_file_on_the_disk_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", "--max-age", "0.5", cwd=tmp_path) as server:
        (tmp_path / "site_app.py").write_text("this is no Python\n")
        for _ in range(4):
            mark = server.mark()
            server.wait_for_log(RECYCLED + r'"age \(--max-age 0\.5\)"$', after=mark)
            assert version(server.port) == "1"
        assert "SyntaxError" not in server.log()


def test_an_idle_connection_outlives_its_worker(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "-t", "2", "--max-age", "0.5", cwd=tmp_path) as server, Client(server.port) as client:
        for _ in range(3):
            assert client.get("/").text == "1"
            server.wait_for_log(r" worker retired ", after=server.mark())
        response = client.get("/")
        assert response.text == "1"
        assert not response.closes


def test_a_worker_that_needs_too_much_memory_is_replaced_and_the_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "hungry.py").write_text(
        "import os\nkept = []\n\n\n"
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/eat':\n"
        "        kept.append(b'x' * 200_000_000)\n"
        "    start_response('200 OK', [('Content-Length', '0'), ('X-Pid', str(os.getpid()))])\n"
        "    return []\n"
    )
    with Server("hungry:application", "-s", "2", "--max-worker-memory", "150", cwd=tmp_path) as server:
        with Client(server.port) as client:
            pid = int(client.get("/eat")["X-Pid"])
            server.wait_for_log(
                rf" worker recycled worker=\S+ pid={pid} reason=\"\d+ MB \(--max-worker-memory 150\)\"$"
            )
            until(lambda: pid not in [worker.pid for worker in server.workers()], "the large worker gone")
            assert int(client.get("/")["X-Pid"]) in [worker.pid for worker in server.wait_workers(2)]
        assert server.log().count(" worker recycled ") == 1


def test_too_much_memory_in_all_is_a_reload(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "-m", "1", cwd=tmp_path) as server:
        server.wait_for_log(r" reload started generation=2 trigger=max-memory$")
        server.wait_for_log(r" reload finished generation=2 ")
        assert version(server.port) == "1"
