"""Django, asked by ``requests`` and ``httpx``: forms, large uploads, streams, files, conditional requests."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests

from clients.big import Body, peak_memory, reads, sha256
from integration.client import Client
from integration.server import Server

APPS = Path(__file__).parent / "apps"
LARGE = 200  # MiB
SPARE = 48 << 20  # bytes that a worker may need for such a body: far less than it, far more than its buffers


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory whose files the site gives."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def pages(files: Path) -> Iterator[Server]:
    """One worker, so that it is known whose memory to look at."""
    command = ["-f", "django", "pages_settings", "-s", "1", "-t", "4", "-l", "/dev/null"]
    with Server(*command, cwd=APPS, env={"PAGES_FILES": str(files)}) as server:
        yield server


@pytest.fixture
def site(pages: Server) -> Iterator[requests.Session]:
    """A session of ``requests``."""
    with requests.Session() as session:
        yield session


def test_a_form_with_its_token_its_errors_and_its_redirect(pages: Server, site: requests.Session) -> None:
    url = f"{pages.url}/guest/"
    values = {"name": "Zoë", "age": "7", "tags": ["a", "ä"]}
    assert site.post(url, data=values).status_code == 403
    token = {"csrfmiddlewaretoken": site.get(url).json()["token"]}
    assert site.post(url, data={"name": "", "age": "-1", **token}).json().keys() == {"name", "age"}
    for encoded in ({"data": values | token}, {"data": values | token, "files": {"unused": b"x"}}):
        answer = site.post(url, **encoded)  # type: ignore[arg-type]
        assert [step.status_code for step in (*answer.history, answer)] == [302, 200]
        assert answer.json()["last"] == {"name": "Zoë", "age": 7, "tags": ["a", "ä"]}


def test_a_multipart_form_with_files(pages: Server) -> None:
    content = {"small": b"\r\n--\0\xff" * 10, "large": bytes(3 << 20), "empty": b""}
    named = {name: (f"{name}.bin", data) for name, data in content.items()}
    answer = httpx.post(f"{pages.url}/upload/", data={"title": "drei Dateien: ä"}, files=named).json()
    assert answer["fields"] == {"title": "drei Dateien: ä"}
    assert {name: told["size"] for name, told in answer["files"].items()} == {"small": 60, "large": 3 << 20, "empty": 0}
    assert all(told["sha256"] == sha256(iter([content[name]])) for name, told in answer["files"].items())


def test_an_upload_of_200_mb_is_not_held_in_memory(pages: Server) -> None:
    (worker,) = pages.workers()
    before = peak_memory(worker.pid)
    body = Body(LARGE)
    start = b'--mark\r\nContent-Disposition: form-data; name="film"; filename="film.bin"\r\n\r\n'
    end = b"\r\n--mark--\r\n"
    with Client(pages.port, timeout=120) as client:
        length = len(start) + body.size + len(end)
        fields = f"Content-Length: {length}\r\nContent-Type: multipart/form-data; boundary=mark\r\n\r\n"
        client.send(b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\n" + fields.encode() + start)
        for block in body:
            client.send(block)
        client.send(end)
        answer = client.read()
    assert f'"size": {body.size}, "sha256": "{body.sha256}"' in answer.text
    assert f'"pid": {worker.pid}' in answer.text
    assert peak_memory(worker.pid) - before < SPARE


def test_a_chunked_upload_of_200_mb_is_not_held_in_memory(pages: Server, site: requests.Session) -> None:
    (worker,) = pages.workers()
    before = peak_memory(worker.pid)
    body = Body(LARGE)
    answer = site.post(f"{pages.url}/raw/", data=iter(body), timeout=120)
    assert answer.json() == {"size": body.size, "sha256": body.sha256, "length": str(body.size)}
    assert peak_memory(worker.pid) - before < SPARE


def test_a_stream_is_what_the_view_yields(pages: Server, site: requests.Session) -> None:
    with site.get(f"{pages.url}/stream/?lines=20000", stream=True) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert list(answer.iter_lines()) == [f"line {number} ä".encode() for number in range(20000)]
    assert site.head(f"{pages.url}/stream/?lines=20000").content == b""
    assert site.get(f"{pages.url}/stream/?lines=0").content == b""


def test_a_stream_that_nobody_wants_any_more_harms_nobody(pages: Server) -> None:
    for _ in range(5):
        with Client(pages.port) as client:
            client.send(b"GET /stream/?lines=10000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.sock.recv(100).startswith(b"HTTP/1.1 200 ")
    assert httpx.get(f"{pages.url}/etagged/").status_code == 200


def test_a_large_file_is_sent_by_the_kernel(pages: Server, files: Path, site: requests.Session) -> None:
    body = Body(LARGE)
    with (files / "film.bin").open("wb") as film:
        film.writelines(body)
    (worker,) = pages.workers()
    memory, calls = peak_memory(worker.pid), reads(worker.pid)
    with site.get(f"{pages.url}/file/film.bin?save", stream=True) as answer:
        assert answer.headers["Content-Length"] == str(body.size)
        assert answer.headers["Content-Disposition"] == 'attachment; filename="film.bin"'
        assert sha256(answer.iter_content(1 << 18)) == body.sha256
    assert peak_memory(worker.pid) - memory < SPARE
    assert reads(worker.pid) - calls < body.size >> 14  # Django would read blocks of 4 KiB


def test_small_files_and_their_heads(pages: Server, files: Path, site: requests.Session) -> None:
    for size in (0, 1, 4096, 70_000):
        (files / "small.txt").write_bytes(b"s" * size)
        answer = site.get(f"{pages.url}/file/small.txt")
        assert (answer.content, answer.headers["Content-Length"]) == (b"s" * size, str(size))
        head = site.head(f"{pages.url}/file/small.txt")
        assert (head.content, head.headers["Content-Length"]) == (b"", str(size))


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("If-None-Match", '"v1"', 304),
        ("If-None-Match", '"v0", "v1"', 304),
        ("If-None-Match", '"v0"', 200),
        ("If-Modified-Since", "Thu, 29 Feb 2024 12:00:00 GMT", 304),
        ("If-Modified-Since", "Thu, 29 Feb 2024 11:59:59 GMT", 200),
        ("If-Match", '"v0"', 412),
        ("If-Match", '"v1"', 200),
        ("If-Unmodified-Since", "Thu, 29 Feb 2024 11:59:59 GMT", 412),
    ],
)
def test_a_condition_is_answered_on_a_connection_that_goes_on(
    pages: Server, field: str, value: str, status: int
) -> None:
    with Client(pages.port) as client:
        for _ in range(2):  # what a 304 must not have would be taken for the next response
            answer = client.get("/conditional/", f"{field}: {value}")
            assert (answer.status, answer["etag"] if status == 304 else '"v1"') == (status, '"v1"')
            assert answer.body == (b"the document" if status == 200 else b"")
            assert not answer.closes


def test_the_etag_of_the_middleware_is_worth_a_304(pages: Server, site: requests.Session) -> None:
    first = site.get(f"{pages.url}/etagged/")
    again = site.get(f"{pages.url}/etagged/", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert site.get(f"{pages.url}/etagged/").content == first.content


def test_an_error_of_a_view_is_djangos_page(pages: Server, site: requests.Session) -> None:
    answer = site.get(f"{pages.url}/broken/")
    assert (answer.status_code, "Server Error (500)" in answer.text) == (500, True)
    assert site.get(f"{pages.url}/no/such/page").status_code == 404


def test_an_upload_that_is_given_up_leaves_nothing(pages: Server) -> None:
    for _ in range(3):
        with Client(pages.port) as client:
            client.send(
                b"POST /raw/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n" + bytes(5_000_000)
            )
    with Client(pages.port) as client:
        client.send(b"POST /raw/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read_eof() == b""
    assert httpx.get(f"{pages.url}/etagged/").status_code == 200
