"""``spawning.lifecycle``: what is called where, and what an error there means."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import spawning
from integration.client import fetch
from integration.server import APPS, Server, run, until

APP = "hooked.application"


@dataclass
class Notes:
    """What the application has noted: a hook and process ids a line."""

    path: Path

    @property
    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def of(self, hook: str) -> list[list[str]]:
        return [words for first, *words in self.lines if first == hook]

    def env(self, **more: str) -> dict[str, str]:
        return {"NOTES": str(self.path), **more}

    def go_awry(self) -> None:
        """Let the hook fail from now on that the application is to fail in."""
        self.path.with_suffix(".awry").touch()


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


def test_each_hook_is_called_where_it_says(notes: Notes) -> None:
    with Server(APP, "-s", "2", env=notes.env()) as server:
        fork_server = str(server.fork_servers()[0].pid)
        workers = {str(each.pid) for each in server.workers()}
        assert notes.of("load") == [[fork_server]]
        assert sorted(notes.of("fork")) == sorted(
            [worker, fork_server, which] for worker in workers for which in ("first", "second")
        )
        order = [words[2] for words in notes.of("fork") if words[0] == min(workers)]
        assert order == ["first", "second"]
        assert notes.of("exit") == notes.of("gone") == []
        assert server.stop() == 0
    assert {pid for (pid,) in notes.of("exit")} == workers
    assert {pid for _, pid in notes.of("gone")} == workers
    assert {pid for pid, _ in notes.of("gone")} == {fork_server}


def test_with_no_preload_workers_load_and_nobody_is_told_of_exits(notes: Notes) -> None:
    with Server(APP, "-s", "2", "--no-preload", env=notes.env()) as server:
        workers = {str(each.pid) for each in server.workers()}
        assert {pid for (pid,) in notes.of("load")} == workers
        assert {tuple(words[:2]) for words in notes.of("fork")} == {(worker, worker) for worker in workers}
        assert server.stop() == 0
    assert {pid for (pid,) in notes.of("exit")} == workers
    assert notes.of("gone") == []


def test_a_killed_worker_is_gone_without_having_exited(notes: Notes) -> None:
    with Server(APP, "-s", "1", env=notes.env()) as server:
        worker = server.workers()[0].pid
        os.kill(worker, signal.SIGKILL)
        server.wait_for_log(" worker started worker=1.2 ")
        until(lambda: notes.of("gone"), "the fork server is told")
        assert notes.of("gone")[0][1] == str(worker)
        assert notes.of("exit") == []


@pytest.mark.parametrize("keep", ["300", "0"])
def test_a_reload_ends_the_old_workers_in_the_usual_way(notes: Notes, keep: str) -> None:
    with Server(APP, "-s", "1", "--keep-previous", keep, env=notes.env()) as server:
        (old,) = server.workers()
        assert server.reload()
        server.wait_for_log(r" worker retired worker=1\.1 ")
        assert notes.of("exit") == [[str(old.pid)]]
        assert server.stop() == 0
    # A fork server that is kept is stopped, and told when it runs again: at its end, or for a rollback.
    first, second = (words[0] for words in notes.of("load"))
    assert sorted(notes.of("gone")) == sorted([[first, str(old.pid)], [second, notes.of("exit")[1][0]]])


@pytest.mark.parametrize("hook", ["on_load", "on_fork"])
@pytest.mark.parametrize("kind", ["raise", "exit"])
@pytest.mark.parametrize("options", [[], ["--no-preload"]], ids=["preload", "no-preload"])
def test_an_error_at_the_beginning_refuses_the_generation(
    notes: Notes, hook: str, kind: str, options: list[str]
) -> None:
    with Server(APP, "-s", "1", *options, env=notes.env(FAIL=hook, KIND=kind)) as server:
        (worker,) = server.workers()
        notes.go_awry()
        assert not server.reload()
        function = "hooked.loaded" if hook == "on_load" else "hooked.second"
        what = "SystemExit: 0" if kind == "exit" else f"LookupError: nothing for {hook}"
        server.wait_for_log(f'reload refused generation=2 reason="{hook} function {function} failed: {what}"')
        assert fetch(server.port, "/").text == str(worker.pid)


@pytest.mark.parametrize("hook", ["on_load", "on_fork"])
def test_an_error_at_the_first_start_is_one_line_and_a_traceback(notes: Notes, hook: str) -> None:
    notes.go_awry()
    finished = run(APP, env=notes.env(FAIL=hook))
    assert finished.status == 3
    *trace, last = finished.err.splitlines()
    assert last.startswith(f"spawn: {hook} function hooked.")
    assert "LookupError: nothing for " + hook in trace[-1]
    assert not any(str(Path(spawning.__file__).parent) in line for line in trace)


def test_a_worker_that_fails_to_begin_while_it_is_needed_is_tried_again(notes: Notes) -> None:
    with Server(APP, "-s", "1", env=notes.env(FAIL="on_fork")) as server:
        notes.go_awry()
        os.kill(server.workers()[0].pid, signal.SIGKILL)
        server.wait_for_log(r" worker failed to load worker=1\.2 reason=")
        notes.path.with_suffix(".awry").unlink()
        server.wait_for_log(r" worker started worker=1\.[3-9] ")
        assert fetch(server.port, "/").status == 200


@pytest.mark.parametrize("hook", ["on_exit", "on_worker_gone"])
@pytest.mark.parametrize("kind", ["raise", "exit", "fork"])
def test_an_error_at_an_end_is_logged_and_the_rest_goes_on(notes: Notes, hook: str, kind: str) -> None:
    with Server(APP, "-s", "1", env=notes.env(FAIL=hook, KIND=kind)) as server:
        notes.go_awry()
        os.kill(server.workers()[0].pid, signal.SIGTERM)
        server.wait_for_log(" worker started worker=1.2 ")
        server.wait_for_log(r" worker retired worker=1\.1 ")
        until(lambda: notes.of("gone"), "the other function is called")
        assert len(notes.of("exit")) == 1
        if kind != "fork":
            name = {"on_exit": "leave", "on_worker_gone": "gone_badly"}[hook]
            server.wait_for_log(f" ERROR {hook} function raised function=hooked.{name}$")
        assert fetch(server.port, "/").status == 200


def test_threads_that_on_exit_ends_do_not_hold_up_the_end(notes: Notes) -> None:
    with Server(APP, "-s", "1", env=notes.env(KIND="thread")) as server:
        assert server.reload()
        server.wait_for_log(r" worker retired worker=1\.1 ")
    assert "given up" not in server.log()


def test_an_on_exit_function_that_hangs_is_named_and_given_up(notes: Notes) -> None:
    env = notes.env(FAIL="on_exit", KIND="hang")
    with Server(APP, "-s", "1", "--deadman_timeout", "0.5", env=env) as server:
        assert server.reload()
        place = rf"\({APPS}/hooked.py, line \d+\)"
        server.wait_for_log(
            rf'given up what the application does at its end worker=1\.1 on_exit="hooked.leave {place}"$'
        )


def test_nothing_is_called_under_another_server(notes: Notes) -> None:
    program = "import hooked, sys; print(sorted(name for name in sys.modules if name.startswith('spawning')))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=APPS, env={**os.environ, **notes.env()}, capture_output=True, check=True)
    assert found.stdout.decode().strip() == "['spawning', 'spawning.lifecycle']"
    assert notes.lines == []


@pytest.mark.parametrize("name", ["on_load", "on_fork", "on_exit", "on_worker_gone"])
def test_a_decorator_that_is_called_says_how_to_write_it(name: str) -> None:
    program = f"from spawning.lifecycle import {name}; {name}(None)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (
        found.stderr.decode().splitlines()[-1].endswith(f"{name} takes a function, not NoneType: write @{name} alone")
    )
