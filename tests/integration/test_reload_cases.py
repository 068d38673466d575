"""The cases of ``bench/reload.py`` in short, where no other test has them: what is done to a server under load, and no
client notices.
"""

import contextlib
import json
import os
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.client import Client
from integration.control import spawnctl
from integration.load import Load, steps_back
from integration.server import Server, Way, until
from integration.sites import version, write
from integration.test_developing import spare

APP = "site_app:application"


def serve(directory: Path, way: Way, *options: str) -> Server:
    env = {"PYTHONDONTWRITEBYTECODE": "1", "PWD": str(directory)}
    workers = "1" if way.green else "2"
    return way(APP, "-s", workers, "-t", "4", "-l", "/dev/null", *options, cwd=directory, env=env)


@contextlib.contextmanager
def unnoticed(server: Server) -> Iterator[Load]:
    """Have clients ask without pause, and see that nothing fails, nothing is closed and nothing goes back.

    Over TLS connections are closed, behind a response that says so.
    """
    with Load(server.where, fresh=2, kept=2, pipelined=2) as load:
        yield load
    assert load.failures == []
    assert steps_back(load.answers) == []
    assert load.goodbyes == 0 or server.secure


def test_an_import_that_takes_long_is_not_noticed(tmp_path: Path, way: Way) -> None:
    fifo = tmp_path / "go on"
    os.mkfifo(fifo)
    write(tmp_path, "1")
    with serve(tmp_path, way) as server, unnoticed(server) as load:
        write(tmp_path, "2", before=f"import sys\nprint('importing', file=sys.stderr)\nopen({str(fifo)!r}).read()")
        server.signal(signal.SIGHUP)
        server.wait_for_log("^importing$")
        seen = len(load.answers)
        until(lambda: len(load.answers) > seen + 100, "a hundred answers meanwhile")
        assert {answer.version for answer in load.answers} == {1}
        fifo.write_text("")
        server.wait_for_log(r" reload finished generation=2 ")
        load.wait_for(2)


def test_a_storm_of_signals_loads_little_and_ends_with_the_newest_code(tmp_path: Path, way: Way) -> None:
    write(tmp_path, "1")
    with serve(tmp_path, way) as server, unnoticed(server) as load:
        write(tmp_path, "2", before="import sys, threading\nprint('hangs', file=sys.stderr)\nthreading.Event().wait()")
        server.signal(signal.SIGHUP)
        server.wait_for_log("^hangs$")
        for number in range(3, 13):
            write(tmp_path, str(number))
            server.signal(signal.SIGHUP)
        load.wait_for(12)
        until(lambda: version(server.where) == "12", "the newest code")
        assert server.log().count(" reload started ") <= 4


def test_a_link_that_flips_under_load_is_not_noticed(tmp_path: Path, way: Way) -> None:
    current = tmp_path / "current"
    for number in ("1", "2", "3"):
        (tmp_path / number).mkdir()
        write(tmp_path / number, number)
    current.symlink_to("1")
    with serve(current, way) as server, unnoticed(server) as load:
        for number in ("2", "3"):
            link = tmp_path / "new"
            link.symlink_to(number)
            link.rename(current)
            assert server.reload()
            load.wait_for(int(number))


def test_a_thousand_idle_connections_live_through_many_reloads(tmp_path: Path, way: Way) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the server inherits it
    write(tmp_path, "1")
    try:
        with serve(tmp_path, way) as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(server.where)) for _ in range(1000)]
            assert {client.get("/").text for client in clients} == {"1"}
            last = 4 if way.green else 11
            for number in range(2, last + 1):
                write(tmp_path, str(number))
                assert server.reload()
            answers = [client.get("/") for client in clients]
            assert {(answer.text, answer.closes) for answer in answers} == {(str(last), server.secure)}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Nothing grows -------------------------------------------------------------------------------------------------------


def _holdings(server: Server) -> tuple[list[str], list[str], int]:
    """Return what the controller has open, without the kernel's numbers; what each process is; and how many threads."""
    directory = Path(f"/proc/{server.pid}/fd")
    opened = sorted(re.sub(r"\d+", "N", os.readlink(path)) for path in directory.iterdir())
    kinds = sorted(re.sub(r"\d+", "N", " ".join(process.cmdline()).rstrip()) for process in server.processes())
    return opened, kinds, len(os.listdir(f"/proc/{server.pid}/task"))


def _records(path: Path) -> tuple[int, int]:
    """Return how many workers and generations the controller knows: it has let go of all others."""
    generations = json.loads(spawnctl("-S", path, "status", "--json").out)["generations"]
    return sum(len(each["workers"]) for each in generations), len(generations)


# What a generation holds does not depend on where it listens, so each option and each way to serve is here once.
@pytest.mark.parametrize(
    ("options", "where", "green"),
    [
        (("--reload", "dev"), "127.0.0.1:0", False),
        (("--no-preload",), "unix:{0}/socket", False),
        (("--keep-previous", "0"), "127.0.0.1:0?tls", False),
        ((), "127.0.0.1:0", True),
    ],
)
def test_many_reloads_leave_nothing_behind(
    tmp_path: Path, directory: Path, options: tuple[str, ...], where: str, green: bool
) -> None:
    path = tmp_path / "ctl.sock"
    write(tmp_path, "1")
    way = Way(where.format(directory), green)
    with serve(tmp_path, way, "--control-socket", str(path), "--no-auto-rollback", *options) as server:
        dev = "--reload" in options
        workers = 1 if green else 2
        kept = dev or not options  # the other two keep nothing for a rollback
        for count in range(1, 11):
            assert spawnctl("-S", path, "reload", "--wait").status == 0
            if count == 5:
                until(
                    lambda: _records(path) == (workers, 1 + kept) and len(spare(server)) == dev,
                    "nothing but what is kept",
                )
                holdings = _holdings(server)
        until(lambda: _records(path) == (workers, 1 + kept) and len(spare(server)) == dev, "nothing but what is kept")
        assert _holdings(server) == holdings
