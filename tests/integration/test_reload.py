"""A reload: the new code serves, or the old code goes on as if nothing had happened."""

import os
import signal
from pathlib import Path

import pytest

from integration.gate import Gate
from integration.ports import free_port
from integration.server import Server, until
from integration.sites import held, version, write

APP = "site_app:application"


def test_hup_brings_the_new_code(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        write(tmp_path, "2")
        mark = server.mark()
        server.signal(signal.SIGHUP)
        server.wait_for_log(r" reload started generation=2 trigger=SIGHUP$", after=mark)
        server.wait_for_log(r" reload finished generation=2 seconds=\d+\.\d{3}$", after=mark)
        assert version(server.port) == "2"
        server.wait_for_log(r" worker retired worker=1\.1 pid=\d+$")
        server.wait_for_log(r" worker retired worker=1\.2 pid=\d+$")
        assert [each.name for each in server.fork_servers()] == ["1", "2"]  # the one before is kept for a rollback


def test_code_that_does_not_import_is_refused_and_its_traceback_shown_once(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        (tmp_path / "site_app.py").write_text("import nothing_of_that_name\n")
        assert not server.reload()
        assert version(server.port) == "1"
        server.wait_for_log(r' reload refused generation=2 reason=".*nothing_of_that_name')
        assert server.log().count("ModuleNotFoundError: No module named 'nothing_of_that_name'\n") == 1
        assert [worker.generation for worker in server.wait_workers(2)] == [1, 1]
        write(tmp_path, "3")
        assert server.reload()
        assert version(server.port) == "3"


def test_an_import_that_never_ends_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--boot-timeout", "4", cwd=tmp_path) as server:
        write(tmp_path, "2", before="import threading\nthreading.Event().wait()")
        assert not server.reload()
        server.wait_for_log(r"reload refused generation=2 reason=\"[^\"]* 4 s \(--boot-timeout\)\"")
        assert version(server.port) == "1"


def test_a_fork_server_that_dies_during_the_import_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        write(tmp_path, "2", before="import os\nos.abort()")
        assert not server.reload()
        server.wait_for_log(r"reload refused generation=2 reason=\"[^\"]*\(signal=SIGABRT\)\"")
        assert version(server.port) == "1"


def test_workers_that_die_before_they_are_ready_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        write(tmp_path, "2", before="import os\nos.register_at_fork(after_in_child=os.abort)")
        assert not server.reload()
        assert version(server.port) == "1"
        assert [worker.generation for worker in server.wait_workers(2)] == [1, 1]


def test_without_preload_a_worker_that_cannot_load_refuses_the_generation(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", "--no-preload", cwd=tmp_path) as server:
        (tmp_path / "site_app.py").write_text("raise RuntimeError('not today')\n")
        assert not server.reload()
        assert version(server.port) == "1"
        assert server.log().count("RuntimeError: not today\n") == 1


def test_a_second_trigger_during_a_reload_starts_again_with_the_newest_code(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "1", cwd=tmp_path) as server:
        write(tmp_path, "2", before="import sys, threading\nprint('hangs', file=sys.stderr)\nthreading.Event().wait()")
        server.signal(signal.SIGHUP)
        server.wait_for_log("^hangs$")
        write(tmp_path, "3")
        server.signal(signal.SIGHUP)
        server.wait_for_log(r" reload abandoned generation=2$")
        server.wait_for_log(r" reload finished generation=3 ")
        assert version(server.port) == "3"


def test_three_generations_may_be_alive(gate: Gate) -> None:
    """A request that takes long is finished by the code it began with, however many reloads come."""
    with Server("basics.application", "-s", "1", "-t", "4") as server:
        with held(gate, server.port) as first:
            assert server.reload()
            with held(gate, server.port) as second:
                assert server.reload()
                assert [worker.generation for worker in server.wait_workers(3)] == [1, 2, 3]
                gate.open(2)
                assert second.read().status == 200
            assert first.read().status == 200
        server.wait_workers(1)


def test_a_changed_file_reloads_and_so_does_the_mending_of_a_broken_one(tmp_path: Path) -> None:
    path = write(tmp_path, "1")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=tmp_path) as server:
        path.write_text("import site_helper\n")
        server.wait_for_log(r" reload refused generation=2 ")
        mark = server.mark()
        (tmp_path / "site_helper.py").write_text("")
        server.wait_for_log(r" reload refused generation=\d ", after=mark)  # it imports, but has no application
        beside = tmp_path / "site_app.py.new"
        beside.write_text(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'4']\n"
        )
        beside.rename(path)
        server.wait_for_log(r" reload finished generation=\d+ ", after=mark)
        assert version(server.port) == "4"


def test_a_watched_directory_and_a_watched_file_reload(tmp_path: Path) -> None:
    site, templates = tmp_path / "site", tmp_path / "templates" / "deep"
    site.mkdir()
    templates.mkdir(parents=True)
    named = tmp_path / "named.txt"
    named.touch()
    write(site, "1")
    watched = ("-w", str(tmp_path / "templates"), "-w", str(named))
    with Server(APP, "-s", "1", "--reload", "dev", *watched, cwd=site) as server:
        (templates / "page.html").write_text("<p>")
        server.wait_for_log(r" reload finished generation=2 ")
        named.unlink()
        named.write_text("again")
        server.wait_for_log(r" reload finished generation=3 ")


def test_the_settings_of_a_reload_take_effect_and_the_address_too(tmp_path: Path) -> None:
    write(tmp_path, "1")
    factory = tmp_path / "own_factory.py"
    source = (
        "from spawning.wsgi_factory import config_factory as wsgi\n\n\n"
        "def config_factory(args):\n    return {**wsgi(args), %s}\n"
    )
    factory.write_text(source % "'num_processes': 1")
    first, port = free_port(), free_port()
    with Server(APP, "-f", "own_factory.config_factory", "--port", str(first), cwd=tmp_path) as server:
        factory.write_text(source % f"'num_processes': 2, 'port': {port}")
        assert server.reload()
        server.wait_workers(2)
        assert version(port) == "1"
        server.wait_for_log(rf" listener closed address=127\.0\.0\.1:{first}$")
        with pytest.raises(ConnectionRefusedError):
            version(first)


def test_a_worker_that_does_not_finish_is_killed(gate: Gate) -> None:
    arguments = ("basics.application", "-s", "1", "-t", "4", "--deadman_timeout", "0.3")
    with Server(*arguments) as server, held(gate, server.port):
        stuck = server.workers()[0].pid
        assert server.reload()
        until(lambda: stuck not in [worker.pid for worker in server.workers()], "the old worker gone")


def test_a_worker_killed_during_a_reload_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with Server(APP, "-s", "2", cwd=tmp_path) as server:
        old = server.wait_workers(2)
        write(tmp_path, "2")
        server.signal(signal.SIGHUP)
        server.wait_for_log(r" reload started ")
        os.kill(old[0].pid, signal.SIGKILL)
        server.wait_for_log(r" reload finished generation=2 ")
        assert version(server.port) == "2"
