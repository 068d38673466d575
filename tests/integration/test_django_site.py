"""The example site as ``make serve`` runs it: what a Django project is made of works."""

import hashlib
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.client import Client, Response, fetch
from integration.server import Server

SITE = Path(__file__).parents[2] / "examples" / "django_site"
PASSWORD = "for this test only"
FACTORY = "--factory=spawning.django_factory.config_factory"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The prepared site, in two workers with ten threads each."""
    env = {"SITE_DATA": str(tmp_path_factory.mktemp("site")), "SITE_ADMIN_PASSWORD": PASSWORD}
    command = [sys.executable, "-W", "ignore", "manage.py", "prepare"]
    for _ in range(2):  # harmless to repeat
        subprocess.run(command, cwd=SITE, env={**os.environ, **env}, check=True, capture_output=True, timeout=120)
    with Server(FACTORY, "settings", "-s", "2", "-t", "10", cwd=SITE, env=env) as server:
        yield server


class Browser:
    """A connection with cookies and forms; follows the ``Location`` of an answer to a form, like a person would."""

    def __init__(self, port: int) -> None:
        self.client = Client(port)
        self.cookies: dict[str, str] = {}

    def get(self, target: str) -> Response:
        return self._noted(self.client.get(target, self._cookie()))

    def submit(
        self, page: str, values: Mapping[str, str], *, to: str = "", file: tuple[str, bytes] | None = None
    ) -> Response:
        """Open `page`, take its token, and send the form to `to` (by default the page itself)."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page).text)
        assert found, page
        kind, body = _form({**values, "csrfmiddlewaretoken": found[1]}, file)
        return self._noted(self.client.post(to or page, body, self._cookie(), f"Content-Type: {kind}"))

    def _cookie(self) -> str:
        return "Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def _noted(self, response: Response) -> Response:
        for name, value in response.fields:
            if name == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        return response


def _form(values: Mapping[str, str], file: tuple[str, bytes] | None) -> tuple[str, bytes]:
    """Write a form as ``multipart/form-data`` (RFC 7578): media type and body."""
    mark = "----form-mark"
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in values.items()]
    if file:
        head = f'Content-Disposition: form-data; name="file"; filename="{file[0]}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + file[1])
    body = b"".join(f"--{mark}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{mark}--\r\n".encode()
    return f"multipart/form-data; boundary={mark}", body


@pytest.fixture
def browser(site: Server) -> Iterator[Browser]:
    browser = Browser(site.port)
    yield browser
    browser.client.close()


def test_the_fixture_is_what_its_script_writes() -> None:
    folder = SITE / "library" / "fixtures"
    assert runpy.run_path(str(folder / "make_books.py"))["text"]() == (folder / "books.json").read_text()


def test_the_list_has_pages_and_a_search(browser: Browser) -> None:
    first = browser.get("/")
    assert first.status == 200
    assert first.text.count("<tr><td>") == 10
    assert "page 1 of 26" in first.text
    assert "page 26 of 26" in browser.get("/?page=26").text
    assert "No book has such a title" in browser.get("/?q=no+such+title").text
    assert all("Harbour" in row for row in re.findall(r"<tr><td>.*", browser.get("/?q=harbour").text))


def test_the_detail_page_and_a_missing_one(browser: Browser) -> None:
    assert "<h2>Reviews</h2>" in browser.get("/books/1/").text
    assert browser.get("/books/999999/").status == 404


def test_a_review_is_written_once_the_token_is_right(browser: Browser) -> None:
    review = {"reader": "Ida", "stars": "5", "text": "Read by candle light."}
    response = browser.submit("/books/2/", review)
    assert (response.status, response["location"]) == (302, "/books/2/")
    assert "Read by candle light." in browser.get("/books/2/").text
    assert (
        browser.client.post("/books/2/", b"reader=Eve", "Content-Type: application/x-www-form-urlencoded").status == 403
    )


def test_a_form_with_errors_comes_back(browser: Browser) -> None:
    response = browser.submit("/books/2/", {"reader": "Ida", "stars": "9", "text": ""})
    assert response.status == 200
    assert "less than or equal to 5" in response.text


def test_an_attached_file_comes_back_byte_for_byte(browser: Browser) -> None:
    content = bytes(range(256)) * 8192  # 2 MiB: over every in-memory limit on its way
    response = browser.submit("/books/3/", {}, to="/books/3/attach/", file=("map.bin", content))
    assert response.status == 302
    page = browser.get("/books/3/").text
    assert hashlib.sha256(content).hexdigest() in page
    link = re.search(r'href="(/attachments/\d+/)"', page)
    assert link
    answer = browser.get(link[1])
    assert answer.body == content
    assert "attachment" in answer["content-disposition"]


def test_the_admin_with_its_style_sheet(browser: Browser) -> None:
    login = browser.get("/admin/login/").text
    sheet = re.search(r'href="(/static/admin/css/base[^"]*\.css)"', login)
    assert sheet
    assert browser.get(sheet[1])["content-type"].startswith("text/css")
    assert browser.get("/static/library/site.css").status == 200
    response = browser.submit("/admin/login/", {"username": "admin", "password": PASSWORD, "next": "/admin/"})
    assert (response.status, response["location"]) == (302, "/admin/")
    assert "Site administration" in browser.get("/admin/").text
    assert "260 books" in browser.get("/admin/library/book/").text


def test_the_pages_to_try_a_server_with(browser: Browser) -> None:
    assert browser.get("/hello/").text == "Hello, world!\n"
    assert browser.get("/sleep/?ms=1").text == "slept 1 ms\n"
    streamed = browser.get("/stream/?lines=500")
    assert streamed["transfer-encoding"] == "chunked"
    assert streamed.text.splitlines() == [f"line {number} of 500" for number in range(1, 501)]


def test_several_processes_write_at_the_same_time(site: Server) -> None:
    def write(number: int) -> int:
        browser = Browser(site.port)
        try:
            text = {"reader": f"Reader {number}", "stars": "3", "text": "At the same time."}
            return browser.submit("/books/4/", text).status
        finally:
            browser.client.close()

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(write, range(60))) == {302}
    assert fetch(site.port, "/books/4/").text.count("At the same time.") == 60


def test_after_a_reload_the_site_is_the_same(site: Server, browser: Browser) -> None:
    before = browser.get("/?page=2").body
    assert site.reload()
    assert fetch(site.port, "/?page=2").body == before
