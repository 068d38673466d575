"""curl, the client that everybody tries first: each of its ways to ask."""

import json
import re
from pathlib import Path

from clients.programs import run
from integration.client import Client
from integration.server import Server

QUIET = ("--silent", "--show-error", "--fail", "--max-time", "30", "--noproxy", "*")
ABOUT = "<%{http_code} %{http_version} %{num_connects} %{size_download}>"  # behind each answer; `told` reads it


def curl(*args: str | Path, data: bytes = b"") -> str:
    """Run curl; a status of 400 or more, or an answer that breaks the protocol, fails."""
    return run("curl", *QUIET, *args, data=data).decode()


def told(out: str) -> list[tuple[str, ...]]:
    """Return what curl reports of each answer: status, version, connections that it needed, bytes of content."""
    return re.findall(r"<(\S+) (\S+) (\S+) (\S+)>", out)


def test_several_urls_share_a_connection(basics: Server) -> None:
    urls = [f"{basics.url}/{name}" for name in ("hello", "stream", "repeat?bytes=100000", "hello")]
    out = curl("--write-out", ABOUT, *(arg for url in urls for arg in ("--output", "/dev/null", url)))
    assert [answer[:3] for answer in told(out)] == [("200", "1.1", connects) for connects in ("1", "0", "0", "0")]


def test_a_url_that_is_not_encoded() -> None:
    """curl sends the bytes that it was given."""
    with Server("pep3333.application", "-s", "1") as server:
        environ = json.loads(curl(f"{server.url}/environ?q=caf\xe9"))
        assert environ["QUERY_STRING"].encode("latin-1").decode() == "q=caf\xe9"
        assert environ["RAW_URI"].encode("latin-1").decode() == "/environ?q=caf\xe9"
        server.out.find(r'"GET /environ\?q=caf\\xc3\\xa9 HTTP/1\.1" 200 ', 30)


def test_a_large_body_waits_for_100_continue(basics: Server, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(bytes(range(256)) * 8192)  # curl expects by itself from 1 MiB on
    trace = tmp_path / "trace"
    # Longer than the deadline of the command: curl would send the body anyway after this time.
    out = run("curl", *QUIET, "--expect100-timeout", "60", "--trace-ascii", trace, "-T", path, f"{basics.url}/echo")
    assert out == path.read_bytes()
    assert "HTTP/1.1 100 Continue" in trace.read_text()


def test_a_body_of_unknown_length_is_chunked(basics: Server) -> None:
    sent = bytes(range(256)) * 1000
    out = run("curl", *QUIET, "--upload-file", "-", f"{basics.url}/echo", data=sent)
    assert out == sent
    environ = json.loads(curl("--upload-file", "-", f"{basics.url}/environ", data=b"some"))
    assert (environ["REQUEST_METHOD"], environ["CONTENT_LENGTH"]) == ("PUT", "4")
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_http_1_0(basics: Server) -> None:
    for target, size in (("hello", 14), ("stream", 70), ("repeat?bytes=100000", 100_000)):
        out = curl("--http1.0", "--write-out", ABOUT, f"{basics.url}/{target}")
        assert told(out) == [("200", "1.1", "1", str(size))]  # RFC 9110 section 6.2: our own version


def test_http_1_0_kept_alive(basics: Server) -> None:
    out = curl("--http1.0", "--header", "Connection: keep-alive", "--write-out", ABOUT, *[f"{basics.url}/hello"] * 3)
    assert [answer[2] for answer in told(out)] == ["1", "0", "0"]


def test_head(basics: Server) -> None:
    out = curl("--head", "--write-out", ABOUT, *[f"{basics.url}/repeat?bytes=100000"] * 2)
    assert out.lower().count("content-length: 100000") == 2
    assert [answer[2:] for answer in told(out)] == [("1", "0"), ("0", "0")]


def test_an_offer_of_http_2_is_ignored(basics: Server) -> None:
    out = curl("--http2", "--write-out", ABOUT, f"{basics.url}/hello", f"{basics.url}/hello")
    assert [answer[:3] for answer in told(out)] == [("200", "1.1", "1"), ("200", "1.1", "0")]


def test_an_offer_of_http_2_with_a_body_is_ignored(basics: Server) -> None:
    assert curl("--http2", "--data", "some body", f"{basics.url}/echo") == "some body"


def test_a_form_and_a_file(basics: Server, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"content of the file")
    out = curl("--form", "name=Zoë", "--form", f"file=@{tmp_path}/a.txt", f"{basics.url}/echo")
    assert "content of the file" in out
    assert "Zoë" in out


def test_a_slow_download_and_a_range_that_is_ignored(basics: Server, tmp_path: Path) -> None:
    target = f"{basics.url}/repeat?bytes=3000000"
    out = curl("--limit-rate", "3M", "--output", tmp_path / "out", "--write-out", ABOUT, target)
    assert told(out) == [("200", "1.1", "1", "3000000")]
    assert curl("--range", "0-9", target).startswith("xxxxxxxxxx")  # ranges are the application's business
    with Client(basics.port) as client:
        assert client.get("/hello").status == 200


def test_an_early_refusal_is_seen_by_a_client_that_is_still_sending(basics: Server) -> None:
    fields = ["--header", "Transfer-Encoding: gzip, chunked", "--header", "Expect:"]
    options = ["--silent", "--max-time", "30", "--noproxy", "*", *fields, "--write-out", ABOUT, "--upload-file", "-"]
    out = run("curl", *options, f"{basics.url}/echo", data=bytes(3_000_000)).decode()
    assert told(out)[0][0] == "501"
