"""``--redirect-to-https`` and ``--acme-directory``: where plain HTTP is sent, and what is answered nevertheless."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from spawning.settings import Settings
from spawning.wsgi.https import redirected
from unit.exchanges import Environ, StartResponse, run


def served(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]


def ask(target: str, settings: Settings, port: int = 443, **more: Any) -> tuple[str, str, bytes]:
    """Return status, Location and body of the answer."""
    path, _, query = target.partition("?")
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, "RAW_URI": target,
        "HTTP_HOST": "example.com", "SERVER_NAME": "127.0.0.1", "wsgi.url_scheme": "http", **more,
    }  # fmt: skip
    response = run(redirected(served, settings, port), of=environ)
    status, *fields = response.head
    locations = [field.partition(": ")[2] for field in fields if field.startswith("Location: ")]
    return status.removeprefix("HTTP/1.1 "), "".join(locations), response.body


@pytest.mark.parametrize(
    ("target", "port", "more", "location"),
    [
        ("/", 443, {}, "https://example.com/"),
        ("/", 8443, {}, "https://example.com:8443/"),
        ("/a%2fb?c=%20", 443, {"HTTP_HOST": "example.com:8080"}, "https://example.com/a%2fb?c=%20"),
        ("/", 443, {"HTTP_HOST": "[::1]:8080"}, "https://[::1]/"),
        ("/", 8443, {"HTTP_HOST": "[::1]"}, "https://[::1]:8443/"),
        ("/", 443, {"HTTP_HOST": ""}, "https://127.0.0.1/"),
        ("/b", 443, {"SCRIPT_NAME": "/a"}, "https://example.com/a/b"),
        ("//evil.example/", 443, {}, "https://example.com//evil.example/"),
        ("http://example.com/a%20b?c", 443, {"PATH_INFO": "/a b", "QUERY_STRING": "c"}, "https://example.com/a%20b?c"),
        ("*", 443, {"REQUEST_METHOD": "OPTIONS", "PATH_INFO": ""}, "https://example.com"),
        ("/", 443, {"REQUEST_METHOD": "POST"}, "https://example.com/"),
    ],
)
def test_plain_http_is_sent_to_the_same_place(target: str, port: int, more: dict[str, str], location: str) -> None:
    answer = ask(target, Settings(redirect_to_https=True), port, **more)
    assert answer == ("308 Permanent Redirect", location, b"use https\n")


def test_the_port_may_be_said() -> None:
    assert ask("/", Settings(redirect_to_https=True, https_port=444), 8443)[1] == "https://example.com:444/"


@pytest.mark.parametrize(
    ("target", "more"), [("/", {"wsgi.url_scheme": "https"}), ("/ready", {}), ("/.well-known/acme-challenge/x", {})]
)
def test_what_is_served_nevertheless(target: str, more: dict[str, Any]) -> None:
    settings = Settings(redirect_to_https=True, ready_path="/ready?deep")
    assert ask(target, settings, **more) == ("200 OK", "", b"served")


def test_without_an_option_the_application_is_itself() -> None:
    assert redirected(served, Settings(), 443) is served


@pytest.mark.parametrize(
    ("token", "method", "status"),
    [
        ("a-token_1", "GET", "200 OK"), ("a-token_1", "HEAD", "200 OK"), ("a-token_1", "POST", "404 Not Found"),
        ("", "GET", "404 Not Found"), ("none", "GET", "404 Not Found"), ("../secret", "GET", "404 Not Found"),
        ("a/b", "GET", "404 Not Found"), (".", "GET", "404 Not Found"), ("a\0b", "GET", "404 Not Found"),
    ],
)  # fmt: skip
def test_challenges(tmp_path: Path, token: str, method: str, status: str) -> None:
    there = tmp_path / "challenges"
    there.mkdir()
    (there / "a-token_1").write_text("proof")
    (tmp_path / "secret").write_text("secret")
    settings = Settings(acme_directory=str(there), redirect_to_https=True)
    target = f"/.well-known/acme-challenge/{token}"
    answer = ask(target, settings, REQUEST_METHOD=method)
    assert answer[0] == status
    assert b"secret" not in answer[2]
    assert ask("/other", settings)[0] == "308 Permanent Redirect"
