"""``REQUEST_ID``: who makes it, and how the log shows it."""

import re
from collections.abc import Iterable

import pytest

from spawning.wsgi.request_id import id_at_end, identified
from unit.exchanges import Environ, StartResponse, run


def show(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [environ["REQUEST_ID"].encode()]


def test_each_request_gets_its_own_and_each_worker_another() -> None:
    application, other = identified(show, "X-Request-ID"), identified(show, "X-Request-ID")
    first, second, third = (run(each).body.decode() for each in (application, application, other))
    assert re.fullmatch(r"[0-9a-f]{12}-1", first)
    assert second == first[:-1] + "2"
    assert third != first


def test_one_that_is_there_stays() -> None:
    response = run(identified(show, "X-Request-ID"), of={"REQUEST_METHOD": "GET", "REQUEST_ID": "given"})
    assert response.body == b"given"


def test_without_a_header_nothing_is_wrapped() -> None:
    assert identified(show, None) is show


def test_lines_about_a_request_end_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    def fail(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise LookupError

    run(identified(fail, "X-Request-ID"))
    assert re.search(r"application raised method=GET path='/path' request_id=[0-9a-f]{12}-1$", caplog.messages[0])


@pytest.mark.parametrize("value", ["a\nb", "", None, 7, "a b"])
def test_what_an_application_has_made_of_it_does_not_end_a_line(value: object) -> None:
    assert id_at_end({"REQUEST_ID": value}) == ""
