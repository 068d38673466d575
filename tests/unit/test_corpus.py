"""Every case of the corpus: whole, byte by byte, split at each offset, with trailing data, and behind another request.

A case is ``NAME.http``, the bytes as a client sends them, and ``NAME.json``: ``rule`` (where it is written),
``limits`` (those that are not the usual ones), and what is to be read: ``requests``, or ``requests_before``, ``status``
and a part of the ``reason``. Text stands for bytes as latin-1.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from unit.requests import Story, byte_by_byte, cold, reader, story

CORPUS = Path(__file__).parents[1] / "corpus"
TRAILING = b"GET /trailing HTTP/1.1\r\nHost: trailing.example\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """One case; `expected` is the content of its ``.json``."""

    name: str
    data: bytes
    expected: dict[str, Any]

    @property
    def limits(self) -> dict[str, int]:
        limits: dict[str, int] = self.expected.get("limits", {})
        return limits

    def check(self, seen: Story) -> None:
        """Compare what a reader saw with what it should have seen."""
        if "status" in self.expected:
            assert len(seen.requests) == self.expected["requests_before"]
            assert seen.status == self.expected["status"]
            assert self.expected["reason"] in seen.reason
        else:
            assert seen == Story(self.expected["requests"])


def cases(kind: str) -> list[Case]:
    """Read all cases in the directory `kind`."""
    found = []
    for path in sorted((CORPUS / kind).glob("*.json")):
        data = path.with_suffix(".http").read_bytes()
        found.append(Case(f"{kind}/{path.stem}", data, json.loads(path.read_text())))
    return found


VALID, INVALID = cases("valid"), cases("invalid")
each_case = pytest.mark.parametrize("case", VALID + INVALID, ids=lambda case: case.name)


def test_every_case_has_two_files() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) == 2 * len(VALID + INVALID)
    assert {path.suffix for path in files} == {".http", ".json"}
    assert VALID
    assert INVALID


@each_case
def test_whole(case: Case) -> None:
    case.check(cold([case.data], **case.limits))


@each_case
def test_byte_by_byte(case: Case) -> None:
    case.check(cold(byte_by_byte(case.data), **case.limits))


@each_case
def test_split_at_each_offset(case: Case) -> None:
    for offset in range(1, len(case.data)):
        case.check(cold([case.data[:offset], case.data[offset:]], **case.limits))


@pytest.mark.parametrize("case", VALID, ids=lambda case: case.name)
def test_trailing_data_is_the_next_request(case: Case) -> None:
    (trailing,) = cold([TRAILING]).requests
    limits = {**case.limits, "max_head": 65536}
    for pieces in ([case.data + TRAILING], [case.data, TRAILING], byte_by_byte(case.data + TRAILING)):
        assert cold(pieces, **limits) == Story([*case.expected["requests"], trailing])


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.name)
def test_trailing_data_is_never_interpreted_behind_an_error(case: Case) -> None:
    for pieces in ([case.data + TRAILING], [case.data, TRAILING], byte_by_byte(case.data + TRAILING)):
        case.check(cold(pieces, **case.limits))


@pytest.mark.parametrize("case", [case for case in VALID if not case.limits], ids=lambda case: case.name)
def test_on_a_connection_that_has_seen_every_other_case(case: Case) -> None:
    warm = reader()
    for other in VALID:
        if not other.limits:
            assert story([other.data], warm) == Story(other.expected["requests"])
            assert story([case.data], warm) == Story(case.expected["requests"])
