"""``wsgi.errors``: lines of the application become lines of the log, whole, whoever writes at the same time."""

import sys
import threading
import traceback
from typing import Any

import pytest

from spawning.wsgi.errors import ErrorStream


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_each_line_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    stream = ErrorStream()
    assert stream.write("one\ntwo\r\n\nfour %s\n") == 18
    assert messages(caplog) == ["one", "two", "", "four %s"]
    assert {(record.name, record.levelname) for record in caplog.records} == {("spawning.app", "ERROR")}


def test_a_line_waits_for_its_end(caplog: pytest.LogCaptureFixture) -> None:
    stream = ErrorStream()
    stream.write("begun")
    assert messages(caplog) == []
    stream.writelines([", gone on", ", ended\nnext"])
    assert messages(caplog) == ["begun, gone on, ended"]
    stream.flush()
    stream.flush()
    assert messages(caplog) == ["begun, gone on, ended", "next"]


def test_print_and_tracebacks_go_to_it(caplog: pytest.LogCaptureFixture) -> None:
    stream = ErrorStream()
    print("said", 7, file=stream)
    try:
        int("no number")
    except ValueError:
        traceback.print_exception(sys.exception(), file=stream)
    assert messages(caplog)[0] == "said 7"
    assert messages(caplog)[-1].startswith("ValueError: invalid literal")
    assert not stream.isatty()


@pytest.mark.parametrize("text", [b"bytes", None, 7])
def test_only_text_is_taken(text: Any) -> None:
    with pytest.raises(TypeError, match=r"wsgi\.errors takes str"):
        ErrorStream().write(text)


def test_threads_that_write_at_once_do_not_mix_their_lines(caplog: pytest.LogCaptureFixture) -> None:
    stream = ErrorStream()
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
    assert sorted(messages(caplog)) == [mark * 3 for mark in "abcd" for _ in range(50)]


def test_the_end_writes_what_any_thread_has_begun_and_the_stream_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    stream = ErrorStream()
    thread = threading.Thread(target=stream.write, args=("of another thread",))
    thread.start()
    thread.join()
    stream.write("of this one")
    stream.close()
    assert sorted(messages(caplog)) == ["of another thread", "of this one"]
    print("still open", file=stream)
    assert messages(caplog)[-1] == "still open"
