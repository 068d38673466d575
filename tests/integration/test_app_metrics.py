"""``--app-metrics``: the application's own metrics, from all its processes, over their deaths and reloads."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from integration.client import fetch
from integration.server import Server, run, until
from integration.status import STATUS, samples, status_pid, status_port

SITE = ("measured.application", "-s", "2", "-t", "4", "--keep-previous", "0.1", "--app-metrics", *STATUS)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the server's temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tempfile.tempdir = None
    return tmp_path


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("spawning-metrics-*/*.db"))


def of_dead(server: Server, directory: Path) -> set[str]:
    """Return the pids in the names of files whose processes have ended."""
    pids = {path.stem.rpartition("_")[2] for path in files(directory)}
    return pids - {"0"} - {str(found.pid) for found in [*server.workers(), *server.fork_servers()]}


def test_all_processes_count_and_nothing_is_lost_or_left(directory: Path) -> None:
    with Server(*SITE) as server:
        port = status_port(server)
        visits = 0
        for step in range(8):
            for _ in range(5):
                assert fetch(server.port, "/a").status == 200
                visits += 1
            found = samples(port)
            assert found['visits_total{page="/a"}'] == visits
            assert found["weight_grams_count"] == found['weight_grams_bucket{le="10.0"}'] == visits
            assert found['weight_grams_bucket{le="1.0"}'] == 0
            mark = server.mark()
            if step % 2:
                assert server.reload()
            else:
                os.kill(server.workers()[-1].pid, signal.SIGKILL)
                server.wait_for_log(r" worker started ", after=mark)
        until(lambda: len(server.workers()) == 2 and len(server.fork_servers()) == 1, "only one generation")
        assert samples(port)['visits_total{page="/a"}'] == visits
        assert samples(port)["loaded_total"] == 5
        assert 'spawning_requests_total{method="GET",status="2xx"}' in samples(port)
        assert "spawning_requests_total" not in samples(port)  # the application's
        # A process that has ended is there until the controller has noted it, and its files until somebody asks then.
        until(lambda: samples(port) and not of_dead(server, directory), "the files of the dead are merged")
        assert samples(port)['visits_total{page="/a"}'] == visits
        assert server.stop() == 0
    assert list(directory.glob("spawning-metrics-*")) == []


def test_a_gauge_of_the_living_is_that_of_workers_that_live(directory: Path) -> None:
    with Server(*SITE, "-s", "1") as server:
        port = status_port(server)
        fetch(server.port, "/")
        assert samples(port)["busy"] == 1
        assert server.reload()
        server.wait_workers(1)
        until(lambda: samples(port)["busy"] == 0, "the new worker is not busy")
        fetch(server.port, "/")
        assert samples(port)["busy"] == 1


def test_it_survives_an_upgrade_and_the_end_of_the_status_service(directory: Path) -> None:
    with Server(*SITE) as server:
        port = status_port(server)
        fetch(server.port, "/a")
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        pid = status_pid(server, after=mark)
        server.wait_for_log(r" reload finished generation=2 ", after=mark)
        fetch(server.port, "/a")
        mark = server.mark()
        os.kill(pid, signal.SIGKILL)
        status_pid(server, after=mark)
        until(lambda: samples(port)['visits_total{page="/a"}'] == 2, "both visits")
        assert len(list(directory.glob("spawning-metrics-*"))) == 1
    assert list(directory.glob("spawning-metrics-*")) == []


def test_each_worker_may_import_the_application_itself(directory: Path) -> None:
    with Server(*SITE, "--no-preload") as server:
        port = status_port(server)
        for _ in range(5):
            fetch(server.port, "/a")
        found = samples(port)
        assert (found['visits_total{page="/a"}'], found["loaded_total"]) == (5, 2)


def test_without_the_option_the_application_is_left_alone(directory: Path) -> None:
    with Server("measured.application", "-s", "1", *STATUS) as server:
        fetch(server.port, "/a")
        assert 'visits_total{page="/a"}' not in samples(status_port(server))
    assert files(directory) == []


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    done = run("--port", "0", "--app-metrics", "measured.application")
    assert (done.status, done.err) == (2, "spawn: option --app-metrics: there is no --status, which would show them")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['prometheus_client'] = None\n")
    done = run("--port", "0", *STATUS, "--app-metrics", "basics.application", env={"PYTHONPATH": str(tmp_path)})
    assert done.status == 2
    assert done.err.splitlines()[-1] == (
        "spawn: option --app-metrics needs prometheus-client, the extra spawning[metrics]:"
        " pip install prometheus-client"
    )
