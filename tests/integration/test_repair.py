"""A fork server that dies is replaced, from the same files: nobody is served by code that nobody has asked for."""

import os
import signal
import sys
from pathlib import Path

import pytest

from integration.control import spawnctl
from integration.server import Server, until
from integration.sites import version, write

APP = "site_app:application"
BROKEN = "raise RuntimeError('the disk has gone bad')\n"
CHANGES = ["a newer version", "a broken file", "a file that is gone"]


def change(directory: Path, how: str) -> None:
    path = directory / "site_app.py"
    if how == "a newer version":
        write(directory, "2")
    elif how == "a broken file":
        path.write_text(BROKEN)
    else:
        path.unlink()


def serve(directory: Path, *options: str) -> Server:
    return Server(APP, *options, cwd=directory, env={"PYTHONDONTWRITEBYTECODE": "1"})


def kill_fork_server(server: Server, generation: int) -> None:
    (pid,) = (each.pid for each in server.fork_servers() if each.generation == generation)
    os.kill(pid, signal.SIGKILL)


def test_the_same_files_are_loaded_again(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with serve(tmp_path, "-s", "1") as server:
        kill_fork_server(server, 1)
        server.wait_for_log(r" reload started generation=2 trigger=repair$")
        server.wait_for_log(r" reload finished generation=2 ")
        assert version(server.port) == "1"


@pytest.mark.parametrize("how", CHANGES)
def test_changed_files_are_refused_and_the_workers_serve_on(tmp_path: Path, how: str) -> None:
    write(tmp_path, "1")
    with serve(tmp_path, "-s", "2") as server:
        first, second = server.wait_workers(2)
        change(tmp_path, how)
        mark = server.mark()
        kill_fork_server(server, 1)
        server.wait_for_log(
            r' reload refused generation=2 reason="files have changed since they were loaded: .*app\.py" serving=1$'
        )
        server.wait_for_log(" what serves is in the memory of its workers alone")
        os.kill(first.pid, signal.SIGKILL)
        server.wait_for_log(" worker died worker=1.1 ", after=mark)
        assert version(server.port) == "1"
        assert [each.pid for each in server.workers()] == [second.pid]
        assert server.log().count(" refused ") == 1
        write(tmp_path, "3")
        assert server.reload()
        assert version(server.port) == "3"


def test_only_when_nothing_else_is_left_the_code_on_the_disk_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with serve(tmp_path, "-s", "1") as server:
        (worker,) = server.wait_workers(1)
        write(tmp_path, "2")
        kill_fork_server(server, 1)
        server.wait_for_log(" reload refused generation=2 ")
        (tmp_path / "site_app.py").write_text(BROKEN)
        os.kill(worker.pid, signal.SIGKILL)
        server.wait_for_log(" no worker is left and no generation is kept, so the code on the disk is taken")
        server.wait_for_log(" reload refused generation=3 ")
        write(tmp_path, "3")
        server.wait_for_log(r" reload finished generation=\d+ ")
        assert version(server.port) == "3"


def test_what_is_kept_serves_when_the_disk_is_broken_and_workers_die(tmp_path: Path) -> None:
    write(tmp_path, "1")
    with serve(tmp_path, "-s", "2", "--keep-previous", "300") as server:
        write(tmp_path, "2")
        assert server.reload()
        (tmp_path / "site_app.py").write_text(BROKEN)
        kill_fork_server(server, 2)
        server.wait_for_log(" reload refused generation=3 ")
        assert version(server.port) == "2"
        until(lambda: len(server.workers()) == 2, "two workers")
        os.kill(server.workers()[0].pid, signal.SIGKILL)
        server.wait_for_log(
            r" generation failed, going back to the one before generation=2 reason=.*fork server of .* to=1$"
        )
        server.wait_for_log(r" rollback finished generation=1 ")
        assert version(server.port) == "1"
        for worker in server.wait_workers(2):
            mark = server.mark()
            os.kill(worker.pid, signal.SIGKILL)
            server.wait_for_log(r" worker started worker=1\.\d+ ", after=mark)
        assert "the disk has gone bad" not in server.log()


@pytest.mark.parametrize("trigger", ["reload", "repair"])
def test_an_interpreter_that_is_missing_is_one_line_and_everything_goes_on(tmp_path: Path, trigger: str) -> None:
    write(tmp_path, "1")
    python = tmp_path / "python3"
    python.symlink_to(sys.executable)
    site = next(path for path in sys.path if path.endswith("site-packages"))
    source = Path(__file__).parents[2] / "src"
    env = {"PYTHONPATH": f"{source}:{site}", "PYTHONDONTWRITEBYTECODE": "1"}
    control = tmp_path / "ctl"
    options = ("--port", "0", "-s", "1", "-l", "/dev/null", "--control-socket", str(control))
    with Server(command=[str(python), "-m", "spawning", *options, APP], cwd=tmp_path, env=env) as server:
        python.unlink()
        if trigger == "reload":
            done = spawnctl("-S", control, "reload", "--wait")
            assert done.status == 1
            assert f"generation 2 was refused: cannot start {python}: No such file or directory" in done.err
        else:
            kill_fork_server(server, 1)
        server.wait_for_log(rf' reload refused generation=2 reason="cannot start {python}: No such file or directory"$')
        assert version(server.port) == "1"
        python.symlink_to(sys.executable)
        if trigger == "reload":
            assert server.log().count(" refused ") == 1
            assert spawnctl("-S", control, "reload", "--wait").status == 0
        server.wait_for_log(r" reload finished generation=\d+ ")
        assert version(server.port) == "1"
        assert "Traceback" not in server.log()
        assert "bug" not in server.log()
        assert len(server.err) < 60


def test_an_interpreter_that_is_missing_at_the_start(tmp_path: Path) -> None:
    write(tmp_path, "1")
    code = f"""
import sys
from spawning import cli
sys.executable = {str(tmp_path / "none")!r}
sys.exit(cli.main(sys.argv[1:]))
"""
    with Server(command=[sys.executable, "-c", code, "--port", "0", APP], cwd=tmp_path, ready=False) as server:
        assert server.wait() == 2
        assert server.err.since() == [f"spawn: cannot start {tmp_path / 'none'}: No such file or directory"]
