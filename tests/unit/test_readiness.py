"""The readiness check: which answers pass, and what is said of the others."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from spawning.address import Address, Kind, parse
from spawning.errors import AppLoadError
from spawning.readiness import check
from spawning.settings import Settings, checked, status_range
from spawning.wsgi.exchange import WSGIApplication


def settings(**values: Any) -> Settings:
    return checked({"args": ["site:app"], "ready_path": "/healthz?deep=1", **values}, environ={})


def answering(status: str, *fields: tuple[str, str], body: bytes = b"") -> WSGIApplication:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, list(fields))
        return [body]

    return application


def run(application: WSGIApplication, seconds: float = 30.0, **values: Any) -> None:
    check(application, settings(**values), Address(Kind.TCP, host="127.0.0.1", port=8080), time.monotonic() + seconds)


def refusal(application: WSGIApplication, seconds: float = 30.0, **values: Any) -> AppLoadError:
    with pytest.raises(AppLoadError) as caught:
        run(application, seconds, **values)
    return caught.value


def test_the_application_gets_an_ordinary_request() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.update(environ)
        start_response("204 No Content", [])
        return []

    run(application)
    assert (seen["REQUEST_METHOD"], seen["PATH_INFO"], seen["QUERY_STRING"]) == ("GET", "/healthz", "deep=1")
    assert (seen["HTTP_HOST"], seen["SERVER_PROTOCOL"]) == ("127.0.0.1:8080", "HTTP/1.1")
    assert seen["wsgi.input"].read() == b""


def test_a_file_passes_by_its_status(tmp_path: Path) -> None:
    path = tmp_path / "healthy"
    path.write_bytes(b"yes")

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](path.open("rb"))
        return wrapped

    run(application)
    assert "answered 200 OK" in str(refusal(application, ready_status="204"))


@pytest.mark.parametrize(
    ("address", "asked", "host"),
    [
        ("0.0.0.0:80", None, "localhost:80"),
        ("[::1]:80", None, "[::1]:80"),
        ("127.0.0.1:80", "www.example.com", "www.example.com"),
    ],
)
def test_the_host(address: str, asked: str | None, host: str) -> None:
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(environ["HTTP_HOST"])
        start_response("200 OK", [])
        return []

    check(application, settings(ready_host=asked), parse(address), time.monotonic() + 30)
    assert seen == [host]


@pytest.mark.parametrize(("address", "scheme"), [(":80", "http"), (":443?tls", "https"), ("unix:/s?tls", "https")])
def test_over_tls_the_application_sees_https(address: str, scheme: str) -> None:
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(environ["wsgi.url_scheme"])
        start_response("200 OK", [])
        return []

    check(application, settings(), parse(address), time.monotonic() + 30)
    assert seen == [scheme]


@pytest.mark.parametrize(
    ("status", "allowed"), [("200 OK", "200-299"), ("301 Moved", "200-399"), ("418 Teapot", "418")]
)
def test_expected_statuses_pass(status: str, allowed: str) -> None:
    run(answering(status), ready_status=allowed)


def test_an_error_is_described() -> None:
    error = refusal(answering("503 Service Unavailable", body=b"\n  no database\nmore\n"))
    assert str(error) == (
        "GET /healthz?deep=1 answered 503 Service Unavailable, body: no database;"
        " expected 200-299 (--ready-path, --ready-status)"
    )


def test_a_redirect_is_refused_and_its_target_named() -> None:
    assert "answered 302 Found, Location: /login;" in str(refusal(answering("302 Found", ("Location", "/login"))))


def test_a_bad_request_leads_to_the_host() -> None:
    assert "--ready-host" in str(refusal(answering("400 Bad Request")))


def test_what_the_application_raises_is_shown_with_its_traceback() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise RuntimeError("not today")

    error = refusal(application)
    assert "failed: RuntimeError: not today" in str(error)
    assert 'raise RuntimeError("not today")' in error.details
    assert "bridge.py" not in error.details


def test_one_that_hangs_is_refused_with_its_stack() -> None:
    leave = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        leave.wait()
        return []

    try:
        error = refusal(application, seconds=1.0)  # it has got there by then, on a loaded machine too
        assert "was not answered within" in str(error)
        assert "leave.wait()" in error.details
    finally:
        leave.set()


def test_one_that_ends_its_thread_has_failed() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise SystemExit(1)

    assert "failed: SystemExit: 1" in str(refusal(application))


def test_one_that_never_starts_its_response_has_failed() -> None:
    assert "failed: AssertionError: the application did not call start_response" in str(refusal(lambda *_: []))


def test_a_stream_without_end_is_left_when_its_status_is_known() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        while True:
            yield b"." * 10_000

    run(application)


@pytest.mark.parametrize(("text", "limits"), [("200", (200, 200)), ("200-399", (200, 399))])
def test_status_range(text: str, limits: tuple[int, int]) -> None:
    assert status_range(text) == limits
