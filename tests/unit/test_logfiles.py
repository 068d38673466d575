"""Opening the access log's files for all workers: what is handed out, tried again, closed, and said."""

import os
from pathlib import Path

import pytest

from spawning.controller.logfiles import TRY_AGAIN, LogFiles
from spawning.errors import ConfigError


class Scene:
    """Log files below a directory, and what workers were handed, as pairs of a path and what was the file then."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.handed: list[tuple[str, int]] = []
        self.files = LogFiles(str(directory), {}, self._hand_out)

    def _hand_out(self, path: str, descriptor: int) -> None:
        self.handed.append((os.path.relpath(path, self.directory), os.fstat(descriptor).st_ino))

    def descriptor(self, name: str) -> int:
        found = self.files.descriptor(name)
        assert found is not None
        return found


def open_files() -> list[str]:
    """List the names of the files that this process has open."""
    return [link.readlink().name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


@pytest.fixture
def scene(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Scene:
    caplog.set_level("INFO", "spawning.controller")
    return Scene(tmp_path)


@pytest.mark.parametrize("name", ["-", "/dev/null"])
def test_what_is_no_file_is_not_opened(scene: Scene, name: str) -> None:
    scene.files.open_first(name, "option -l")
    scene.files.want(name)
    assert scene.files.descriptor(name) is None
    assert scene.files.opened == {}


def test_a_relative_path_begins_where_the_service_was_started(scene: Scene) -> None:
    scene.files.want("access.log")
    assert os.path.samestat(os.fstat(scene.descriptor("access.log")), os.stat(scene.directory / "access.log"))
    assert scene.descriptor(str(scene.directory / "access.log")) == scene.descriptor("access.log")


def test_what_cannot_be_opened_is_a_mistake_at_the_start_only(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"^option -l: cannot write no/access\.log: No such file or directory$"):
        scene.files.open_first("no/access.log", "option -l")
    scene.files.want("no/access.log")  # of a later generation
    assert scene.files.descriptor("no/access.log") is None
    path = scene.directory / "no" / "access.log"
    reason = 'reason="No such file or directory" meanwhile=nothing'
    assert caplog.messages == [f"log cannot be opened log=access file={path} {reason}"]


def test_it_is_tried_again_and_said_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.files.want("logs/access.log")
    assert scene.files.look(10.0) == 10.0 + TRY_AGAIN
    assert scene.files.look(10.0 + TRY_AGAIN / 2) == 10.0 + TRY_AGAIN
    (scene.directory / "logs").mkdir()
    assert scene.files.look(10.0 + TRY_AGAIN / 2) == 10.0 + TRY_AGAIN  # not yet
    assert scene.handed == []
    assert scene.files.look(10.0 + TRY_AGAIN) == float("inf")
    path = scene.directory / "logs" / "access.log"
    assert scene.handed == [("logs/access.log", path.stat().st_ino)]
    assert [message.partition(" log=")[0] for message in caplog.messages] == ["log cannot be opened", "log opened"]


def test_another_reason_is_said_too(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.files.want("logs/access.log")
    (scene.directory / "logs").write_text("a file")
    scene.files.look(10.0)
    assert "Not a directory" in caplog.messages[1]


def test_reopening(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.files.open_first("access.log", "option -l")
    scene.files.open_first("stays.log", "option -l")
    (scene.directory / "access.log").rename(scene.directory / "rotated")
    (scene.directory / "stays.log").rename(scene.directory / "also rotated")
    (scene.directory / "stays.log").mkdir()
    stays = scene.descriptor("stays.log")
    scene.files.reopen("SIGUSR1", {"access.log", "stays.log"})
    assert scene.handed == [("access.log", (scene.directory / "access.log").stat().st_ino)]
    assert scene.descriptor("stays.log") == stays
    assert not os.path.samestat(os.stat(scene.directory / "rotated"), os.fstat(scene.descriptor("access.log")))
    assert caplog.messages == [
        f"log reopened log=access file={scene.directory}/access.log signal=SIGUSR1",
        f'log cannot be opened log=access file={scene.directory}/stays.log reason="Is a directory"'
        ' meanwhile="the file before"',
        'log not reopened log=error reason="it is stderr" signal=SIGUSR1',
    ]
    assert "rotated" not in open_files()


def test_what_no_generation_wants_any_more_is_closed(scene: Scene) -> None:
    scene.files.want("one.log")
    scene.files.want("two.log")
    assert "one.log" in open_files()
    scene.files.want("no/three.log")
    scene.files.reopen("SIGUSR1", {"two.log", "-"})
    assert list(scene.files.opened) == [str(scene.directory / "two.log")]
    assert scene.files.look(1e9) == float("inf")
    assert "one.log" not in open_files()


def test_a_fifo_that_nobody_reads_is_no_mistake(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(scene.directory / "fifo")
    scene.files.open_first("fifo", "option -l")
    assert scene.files.descriptor("fifo") is None
    assert 'reason="it is a FIFO that nobody reads" meanwhile=nothing' in caplog.messages[0]
    reader = os.open(scene.directory / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    scene.files.look(10.0)
    assert os.get_blocking(scene.descriptor("fifo"))
    os.close(reader)


def test_what_the_program_before_has_left_is_used(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "moved", os.O_WRONLY | os.O_CREAT)
    files = LogFiles(str(tmp_path), {str(tmp_path / "no/access.log"): descriptor}, lambda *_: None)
    files.want("no/access.log")
    files.open_first("no/access.log", "option -l")
    assert files.descriptor("no/access.log") == descriptor
    files.close()
    assert files.opened == {}
