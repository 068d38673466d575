"""``wsgi.errors``: lines of the application, as they are and whole, whoever writes at the same time."""

import logging
import sys
import threading
import traceback
from typing import Any

import pytest

from spawning.wsgi.errors import LONGEST, ErrorStream


class Lines(list[str]):
    """Keeps what is put, each piece of whole lines by itself."""

    @property
    def stream(self) -> ErrorStream:
        return ErrorStream(self.append)


def test_lines_are_written_as_they_are() -> None:
    lines = Lines()
    assert lines.stream.write("one\ntwo\r\n\n\tfour %s \x1b[31mred\x1b[0m\n") == 32
    assert lines == ["one\ntwo\r\n\n\tfour %s \x1b[31mred\x1b[0m\n"]


def test_a_line_waits_for_its_end() -> None:
    lines = Lines()
    stream = lines.stream
    stream.write("begun")
    assert lines == []
    stream.writelines([", gone on", ", ended\nnext"])
    assert lines == ["begun, gone on, ended\n"]
    stream.flush()
    stream.flush()
    assert lines == ["begun, gone on, ended\n", "next\n"]


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    lines = Lines()
    stream = lines.stream
    for _ in range(LONGEST + 2):
        stream.write(".")
    assert lines == ["." * (LONGEST + 1) + "\n"]
    stream.write("\n")
    assert lines[1:] == [".\n"]


def test_print_tracebacks_and_logging_go_to_it(caplog: pytest.LogCaptureFixture) -> None:
    lines = Lines()
    stream = lines.stream
    print("said", 7, file=stream)
    try:
        int("no number")
    except ValueError:
        traceback.print_exception(sys.exception(), file=stream)
    handler = logging.StreamHandler(stream)
    handler.handle(logging.makeLogRecord({"msg": "logged\nin two lines"}))
    written = "".join(lines).splitlines()
    assert written[0] == "said 7"
    assert written[-3].startswith("ValueError: invalid literal")
    assert lines[-1] == "logged\nin two lines\n"  # one piece, which nothing can come between
    assert not stream.isatty()
    assert not caplog.records


class Escaping(str):
    """A text that changes what it is joined with, as ``markupsafe.Markup`` does."""

    __slots__ = ()

    def __radd__(self, before: str) -> str:
        return before.upper()

    def __str__(self) -> str:
        raise LookupError("no text")


def test_of_a_subclass_of_str_what_it_holds_is_written() -> None:
    lines = Lines()
    stream = lines.stream
    stream.write("<a> ")
    stream.write(Escaping("& <b>\n"))
    assert lines == ["<a> & <b>\n"]


@pytest.mark.parametrize("text", [b"bytes", None, 7])
def test_only_text_is_taken(text: Any) -> None:
    with pytest.raises(TypeError, match=r"wsgi\.errors takes str"):
        ErrorStream().write(text)


def test_threads_that_write_at_once_do_not_mix_their_lines() -> None:
    lines = Lines()
    stream = lines.stream
    meet = threading.Barrier(4, timeout=30)

    def write(mark: str) -> None:
        for _ in range(50):
            meet.wait()
            for _ in range(3):
                stream.write(mark)
            stream.write("\n")

    threads = [threading.Thread(target=write, args=(mark,)) for mark in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lines) == [f"{mark * 3}\n" for mark in "abcd" for _ in range(50)]


def test_the_end_writes_what_any_thread_has_begun_and_the_stream_goes_on() -> None:
    lines = Lines()
    stream = lines.stream
    thread = threading.Thread(target=stream.write, args=("of another thread",))
    thread.start()
    thread.join()
    stream.write("of this one")
    stream.close()
    assert sorted(lines) == ["of another thread\n", "of this one\n"]
    print("still open", file=stream)
    assert lines[-1] == "still open\n"


def test_outside_of_a_server_it_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print("said", file=ErrorStream())
    assert capsys.readouterr().err == "said\n"
