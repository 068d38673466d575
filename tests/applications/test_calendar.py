"""Radicale: calendars and their entries (CalDAV, RFC 4791; ``sync-collection``, RFC 6578), through reloads."""

import concurrent.futures
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from applications.holding import LONG, held, reload_meanwhile, serve
from integration.gate import Gate
from integration.server import Server

CONFIG = "[auth]\ntype = none\n[rights]\ntype = authenticated\n[storage]\nfilesystem_folder = {0}\n"
CALENDAR = '<C:mkcalendar xmlns:C="urn:ietf:params:xml:ns:caldav"/>'
ALL = """<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/>
</D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter>
</C:calendar-query>"""
SYNC = """<D:sync-collection xmlns:D="DAV:"><D:sync-token>{0}</D:sync-token><D:sync-level>1</D:sync-level><D:prop>
<D:getetag/></D:prop></D:sync-collection>"""
EVENT = """BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tests//EN\r\nBEGIN:VEVENT\r\nUID:{0}\r
DTSTAMP:20260101T000000Z\r\nDTSTART:20260101T100000Z\r\nDTEND:20260101T110000Z\r\nSUMMARY:{1}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"""


class Calendar:
    """A person's calendar, and the connection of their program to it, which is kept."""

    def __init__(self, server: Server) -> None:
        self._url = f"{server.url}/anna/work/"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = ("anna", "x")

    def ask(self, method: str, name: str = "", body: str = "", **fields: str) -> requests.Response:
        headers = {key.replace("_", "-"): value for key, value in fields.items()}
        answer = self._session.request(method, self._url + name, data=body.encode(), headers=headers, timeout=LONG)
        assert answer.status_code < 500, answer.text
        return answer

    def put(self, uid: str, summary: str, **fields: str) -> requests.Response:
        return self.ask("PUT", f"{uid}.ics", EVENT.format(uid, summary), Content_Type="text/calendar", **fields)

    def summaries(self) -> set[str]:
        answer = self.ask("REPORT", body=ALL, Depth="1", Content_Type="application/xml")
        assert answer.status_code == 207
        return set(re.findall(r"SUMMARY:([^\r\n&]*)", answer.text))

    def sync(self, token: str = "") -> tuple[str, set[str]]:
        """Return a token and what has changed since that one."""
        answer = self.ask("REPORT", body=SYNC.format(token), Content_Type="application/xml")
        assert answer.status_code == 207, answer.text
        (new,) = re.findall(r"<sync-token>(.*?)</sync-token>", answer.text)
        return new, set(re.findall(r"([^/]+)\.ics</href>", answer.text))


@pytest.fixture
def server(tmp_path: Path, gate: Gate) -> Iterator[Server]:
    config = tmp_path / "config"
    config.write_text(CONFIG.format(tmp_path / "collections"))
    with serve("calendar_pages:application", gate, {"RADICALE_CONFIG": str(config)}) as server:
        yield server


def test_entries_are_made_found_and_synchronised_through_reloads(server: Server, gate: Gate) -> None:
    calendar = Calendar(server)
    assert calendar.ask("MKCALENDAR", body=CALENDAR).status_code == 201
    assert {calendar.put(f"e{number}", f"event {number}").status_code for number in range(20)} == {201}
    assert server.reload()
    assert calendar.summaries() == {f"event {number}" for number in range(20)}
    token, everything = calendar.sync()
    assert everything == {f"e{number}" for number in range(20)}
    with concurrent.futures.ThreadPoolExecutor(1) as pool, held(gate, "PUT /anna/work/late.ics"):
        late = pool.submit(calendar.put, "late", "late")
        reload_meanwhile(server, gate)
        assert late.result(LONG).status_code == 201
    assert calendar.sync(token)[1] == {"late"}
    assert "late" in calendar.summaries()


def test_a_condition_holds_behind_a_reload(server: Server) -> None:
    calendar = Calendar(server)
    calendar.ask("MKCALENDAR", body=CALENDAR)
    first = calendar.put("e", "first").headers["ETag"]
    assert server.reload()
    second = calendar.put("e", "second", If_Match=first)
    assert second.status_code == 204
    assert calendar.put("e", "third", If_Match=first).status_code == 412
    assert calendar.ask("DELETE", "e.ics", If_Match=second.headers["ETag"]).status_code == 200
    assert calendar.summaries() == set()
