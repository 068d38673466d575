"""Going back to the generation before: from memory, with nothing dropped on the way."""

import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from integration.control import spawnctl
from integration.load import Load
from integration.server import Server, until
from integration.sites import version, write

APP = "site_app:application"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ctl.sock"


def serve(path: Path, *options: str) -> Server:
    options = ("-s", "2", "-l", "/dev/null", "--control-socket", str(path), *options)
    return Server(APP, *options, cwd=path.parent, env={"PYTHONDONTWRITEBYTECODE": "1"})


def no_way_back(path: Path) -> str:
    done = spawnctl("-S", path, "rollback", "--wait")
    assert done.status == 1
    prefix = "spawnctl: there is no generation to go back to: "
    assert done.err.startswith(prefix)
    assert done.err.count("\n") == 1
    return done.err.removeprefix(prefix).rstrip()


def _wait_for_answers(load: Load) -> None:
    """Wait until a kept connection has answered twice more: of the two requests, the second has started since."""
    answers = load.kept[0].answers
    enough = len(answers) + 2
    until(lambda: len(answers) >= enough, "two requests on a kept connection")


def test_rollbacks_under_load_fail_no_request_and_never_go_back(path: Path) -> None:
    """The order of versions is that of the cutovers: 1, 2, 1, 2 …"""
    write(path.parent, "1")
    with serve(path) as server:
        terms: list[tuple[int, float]] = [(1, time.monotonic())]  # which version serves, and since when for sure
        with Load(server.port, fresh=3, kept=3) as load:
            write(path.parent, "2")
            assert server.reload()
            terms.append((2, time.monotonic()))
            (path.parent / "site_app.py").write_text("this is no Python\n")
            for number in (1, 2, 1, 2, 1):
                done = spawnctl("-S", path, "rollback", "--wait")
                assert (done.status, done.out.split(" serves")[0]) == (0, f"generation {number}")
                terms.append((number, time.monotonic()))
                _wait_for_answers(load)
        assert load.failures == []
        for (serving, since), (following, ended) in itertools.pairwise(terms):
            between = [
                answer
                for story in (*load.fresh, *load.kept)
                for answer in story.answers
                if since < answer.started < answer.ended < ended
            ]
            order = [answer.version for answer in sorted(between, key=lambda answer: answer.ended)]
            assert set(order) <= {serving, following}
            new = [answer for answer in between if answer.version == following]
            first = min((answer.ended for answer in new), default=ended)
            assert not [answer for answer in between if answer.version == serving and answer.started > first]


def test_after_a_rollback_dead_workers_come_back_from_the_memory_of_what_serves(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server:
        write(path.parent, "2")
        assert server.reload()
        mark = server.mark()
        assert spawnctl("-S", path, "rollback", "--wait").status == 0
        server.wait_for_log(r" rollback started generation=1$", after=mark)
        server.wait_for_log(r" rollback finished generation=1 seconds=\d+\.\d{3}$", after=mark)
        assert version(server.port) == "1"
        for worker in server.wait_workers(2):
            mark = server.mark()
            os.kill(worker.pid, signal.SIGKILL)
            server.wait_for_log(r" worker started worker=1\.\d+ ", after=mark)
        assert version(server.port) == "1"
        write(path.parent, "3")
        assert server.reload()
        assert version(server.port) == "3"
        assert spawnctl("-S", path, "rollback", "--wait").out.startswith("generation 1 serves")
        assert version(server.port) == "1"


def test_nothing_to_go_back_to(path: Path) -> None:
    write(path.parent, "1")
    with serve(path) as server:
        assert no_way_back(path) == "none was replaced within --keep-previous, or its fork server has died"
        assert server.reload()
        mark = server.mark()
        os.kill(server.fork_servers()[0].pid, signal.SIGKILL)
        server.wait_for_log(r" fork server died generation=1 pid=\d+ signal=SIGKILL$", after=mark)
        assert no_way_back(path) == "none was replaced within --keep-previous, or its fork server has died"
        assert version(server.port) == "1"
        assert "repair" not in server.log()


def test_nothing_is_kept_for_longer_than_asked_for(path: Path) -> None:
    write(path.parent, "1")
    with serve(path, "--keep-previous", "0.2") as server:
        assert server.reload()
        until(lambda: [each.name for each in server.fork_servers()] == ["2"], "one fork server")
        no_way_back(path)


def test_nothing_is_kept_at_all(path: Path) -> None:
    write(path.parent, "1")
    with serve(path, "--keep-previous", "0") as server:
        assert server.reload()
        assert no_way_back(path) == "--keep-previous is 0"


def test_nothing_is_in_memory_without_preloading(path: Path) -> None:
    write(path.parent, "1")
    with serve(path, "--no-preload") as server:
        assert server.reload()
        assert no_way_back(path) == "with --no-preload no application is in memory"
