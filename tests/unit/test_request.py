"""What the corpus cannot say about reading requests: limits to the byte, memories that must not mix, mutations."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spawning.http.limits import Limits
from unit.requests import Story, byte_by_byte, cold, forget, reader, story, told
from unit.test_corpus import INVALID, VALID

# Without a database, and derandomized: the same examples on every machine, nothing left behind.
repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=300)

MAX_LINE = Limits().max_line

HOST = b"Host: a.example\r\n\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST


# Limits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "status"), [(MAX_LINE, 0), (MAX_LINE + 1, 414)])
def test_a_request_line_has_a_longest_length(length: int, status: int) -> None:
    data = b"GET /".ljust(length - 9, b"x") + b" HTTP/1.1\r\n" + HOST
    near = range(MAX_LINE - 4, MAX_LINE + 6)
    for pieces in ([data], byte_by_byte(data), *([data[:offset], data[offset:]] for offset in near)):
        assert cold(pieces).status == status


@pytest.mark.parametrize(("excess", "status"), [(0, 0), (1, 431)])
def test_a_head_has_a_largest_size(excess: int, status: int) -> None:
    data = b"GET / HTTP/1.1\r\nX-A: " + b"b" * (1000 + excess) + b"\r\n" + HOST
    limit = len(data) - excess - 4
    for pieces in ([data], byte_by_byte(data), *([data[:offset], data[offset:]] for offset in range(1, len(data)))):
        assert cold(pieces, max_head=limit).status == status


def test_what_a_pull_of_a_thousand_heads_asks_for_is_below_the_usual_limits() -> None:
    """Mercurial puts them into fields of a kilobyte each: X-HgArg-1 and so on."""
    heads = " ".join(f"{number:040x}" for number in range(1000))
    said = f"common={heads}&heads={heads}".replace(" ", "+")
    fields = [f"X-HgArg-{at // 1000 + 1}: {said[at : at + 1000]}\r\n" for at in range(0, len(said), 1000)]
    assert len(fields) > 80
    head = f"GET /repo?cmd=getbundle HTTP/1.1\r\n{''.join(fields)}".encode() + HOST
    assert len(cold([head]).requests) == len(cold(byte_by_byte(head)).requests) == 1


def test_the_limit_holds_for_a_block_that_is_remembered() -> None:
    block = b" HTTP/1.1\r\nX-A: " + b"b" * 200 + b"\r\n" + HOST
    limit = len(block) + 10
    forget()
    story([b"GET /" + b"x" * 100 + GET[5:]], reader())  # the long line is remembered now
    warm = reader(max_head=limit)
    assert len(story([b"GET /" + block], warm).requests) == 1
    assert story([b"GET /" + b"x" * 100 + block], warm).status == 431


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nX:" + b" " * (1 << 20) + b"\0\r\n" + HOST,
        b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b"\t" * (1 << 20) + b"\x7f\r\n\r\n",
        b"GET " + b"/" * (1 << 20) + b"\0 HTTP/1.1\r\n" + HOST,
        b"GET / HTTP/1.1\r\nHost: " + b"%41" * (1 << 19) + b"%\r\n\r\n",
        b"GET http://" + b"a" * (1 << 20) + b"%/ HTTP/1.1\r\n" + HOST,
    ],
)
def test_no_pattern_takes_the_square_of_the_length(data: bytes) -> None:
    """With the square of a megabyte this would not end before the next power cut."""
    assert cold([data], max_line=1 << 22, max_head=1 << 22).status == 400


# What a reader tells while it reads ----------------------------------------------------------------------------------


def test_a_new_reader_is_idle_and_so_is_one_between_requests() -> None:
    source = reader()
    assert source.idle
    assert not source.receive(GET[:5])
    assert not source.idle
    assert source.receive(GET[5:])
    assert source.idle


def test_an_empty_line_alone_leaves_the_reader_idle() -> None:
    source = reader()
    assert not source.receive(b"\r\n")
    assert source.idle
    assert source.receive(GET)


def test_a_reader_knows_when_it_is_in_a_body() -> None:
    source = reader()
    assert not source.receive(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n" + HOST)
    assert source.reading_body
    assert not source.idle
    assert source.receive(b"hi" + GET[:3])
    assert not source.reading_body
    assert bytes(source.unread) == GET[:3]


EXPECTING = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n" + HOST


def test_continue_is_wanted_while_the_client_waits() -> None:
    source = reader()
    assert not source.receive(EXPECTING)
    assert source.wants_continue


@pytest.mark.parametrize(
    "data",
    [
        EXPECTING + b"h",
        EXPECTING.replace(b"/1.1", b"/1.0"),  # RFC 9110 section 10.1.1: ignored in HTTP/1.0
        GET.replace(b"\r\nHost", b"\r\nExpect: 100-continue\r\nHost"),  # no body, nothing to wait for
    ],
)
def test_continue_is_not_wanted(data: bytes) -> None:
    source = reader()
    source.receive(data)
    assert not source.wants_continue


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\rH",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: \0",
        b"CONNECT a:1 HTTP/9.9\n",  # whole, it would be refused for something else first
    ],
)
def test_an_error_is_told_before_the_head_is_complete(data: bytes) -> None:
    for pieces in ([data], byte_by_byte(data), [data[:-1], data[-1:]]):
        assert cold(pieces).status == 400
    assert cold([data + b"\r\n\r\n"]) == cold([data])


@pytest.mark.parametrize("field", [b"Host: a b", b"Content-Length: x", b"Transfer-Encoding: gzip", b"Expect: more"])
def test_what_a_line_shows_is_told_with_its_last_byte(field: bytes) -> None:
    """Whatever has been remembered of it; a second request of the connection is no other case."""
    begun = b"GET / HTTP/1.1\r\n" + field + b"\r"
    for before in ([], [GET], [GET, GET]):
        source = reader()
        assert story([*before, begun], source).status == 0
        assert story([b"\n"], source).status in (400, 417)


def test_a_forbidden_character_and_a_limit_are_told_in_their_order() -> None:
    """Whole or byte by byte, the first byte that shows an error decides."""
    limits = {"max_line": 40, "max_head": 60}
    for position in range(1, 80):
        line = bytearray(b"x" * 80)
        line[position] = 0
        fields = bytearray(b"GET / HTTP/1.1\r\nX: ".ljust(80, b"x"))
        fields[position] = 0
        for data in (bytes(line), bytes(line) + b"\r\n\r\n", bytes(fields), bytes(fields) + b"\r\n\r\n"):
            assert cold(byte_by_byte(data), **limits) == cold([data], **limits)
            assert cold([data], **limits).status in (400, 414, 431)


@pytest.mark.parametrize(
    ("data", "is_head"),
    [
        (b"HEAD / HTTP/1.1\r\n\0", True),
        (b"HEAD / HTTP/1.1\r\n\r\n", True),
        (b"HEAD / HTTP/1.1\r\nContent-Length: 9\r\n" + HOST, True),  # too large
        (b"HEAD / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"x", True),
        (b"HEADER / HTTP/1.1\r\n\0", False),
        (b"HE\0", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n" + HOST, False),
        (GET.replace(b"GET", b"HEAD") + b"nonsense\r\n\r\n", False),
    ],
)
def test_a_refused_request_is_known_to_be_head(data: bytes, is_head: bool) -> None:
    for pieces in ([data], byte_by_byte(data)):
        source = reader(max_body=8)
        assert story(pieces, source).status
        assert source.is_head is is_head


LONG = b"GET /" + b"a" * 2000


@pytest.mark.parametrize(
    ("data", "begun"),
    [
        (b"GET /a", b"GET /a"),
        (b"GET /a HTTP/1.1\r\nHost", b"GET /a HTTP/1.1"),
        (b"GET /a HTTP/1.1\r\nno colon\r\n", b"GET /a HTTP/1.1"),
        (b"GET /a HTTP/1.1\r\n\r\n", b"GET /a HTTP/1.1"),  # no Host
        (b"\r\n\r\n", b""),
        (LONG, LONG[:1024]),
        (LONG + b" HTTP/1.1\n", LONG[:1024]),
        (GET, None),
        (GET.replace(b"Host", b"Content-Length: 2\r\nHost"), None),
        (GET.replace(b"Host", b"Content-Length: 9\r\nHost"), None),  # too large
        (GET.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost") + b"x", None),
    ],
)
@pytest.mark.parametrize("before", [b"", GET, GET.replace(b"Host", b"Content-Length: 1\r\nHost") + b"b"])
def test_what_has_been_read_of_a_request_is_known(data: bytes, begun: bytes | None, before: bytes) -> None:
    """Of the request before nothing is told."""
    for pieces in ([before, data], byte_by_byte(before + data)):
        source = reader(max_body=8)
        story(pieces, source)
        assert source.begun == begun


def test_an_unfinished_request_is_known_to_be_head() -> None:
    source = reader()
    assert not source.receive(b"HEAD ")
    assert source.is_head
    assert not source.receive(b"/ HTTP/1.1\r\nContent-Length: 9\r\n" + HOST + b"b")
    assert source.is_head
    assert source.receive(b"bcdefghi" + GET[:3])
    assert source.is_head  # the next one has not been looked at
    assert not source.receive(b"")
    assert not source.is_head


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_complete_request_is_known_to_be_head(times: int) -> None:
    """Whichever way it was read; what is wrong with it may be found later."""
    source = reader()
    for _ in range(times):
        assert source.receive(GET.replace(b"GET", b"HEAD"))
        assert source.is_head
    assert source.receive(GET)
    assert not source.is_head


# CONNECT -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [b"a.example:443", b"192.0.2.1:80", b"[2001:db8::1]:8080"])
def test_connect_is_read_where_it_is_allowed_and_nowhere_else(target: bytes) -> None:
    data = b"CONNECT " + target + b" HTTP/1.1\r\n" + HOST
    (seen,) = cold([data], connect=True).requests
    assert (seen["target"], seen["path"], seen["host"]) == (target.decode(), "", target.decode())
    assert story([data], reader()).status == 501  # in the same process


@pytest.mark.parametrize("target", [b"/", b"a.example", b"a.example:", b":443", b"http://a:1/", b"a:123456", b"a@b:1"])
def test_connect_needs_a_host_and_a_port(target: bytes) -> None:
    assert cold([b"CONNECT " + target + b" HTTP/1.1\r\n" + HOST], connect=True).status == 400


# Memories ------------------------------------------------------------------------------------------------------------


def test_nul_is_no_stand_in_for_a_header_block() -> None:
    story([GET], reader())  # the request line is remembered
    fresh, behind_a_body = reader(), reader()
    refused = Story([], 400, "control character")
    assert story([b"GET /\0"], fresh) == refused
    assert story([b"POST / HTTP/1.1\r\nContent-Length: 1\r\n" + HOST + b"x"], behind_a_body).requests
    assert story([b"GET /\0"], behind_a_body) == refused


def test_equal_blocks_of_two_connections_are_one_object() -> None:
    first, second = reader(), reader()
    assert first.receive(GET)
    assert second.receive(GET)
    assert first.fields is second.fields
    assert first.line is second.line


def test_equal_heads_of_two_connections_are_read_once_if_their_limits_are_the_same() -> None:
    forget()
    assert len(story([GET, GET], reader()).requests) == 2
    again = reader()
    assert len(story([GET, GET], again).requests) == 2
    assert again.idle
    assert story([GET], reader(max_line=8)).status == 414
    assert story([GET], reader(max_head=30)).status == 431
    assert len(story([GET], reader()).requests) == 1


def test_a_head_that_is_remembered_is_one_behind_an_empty_line_too() -> None:
    story([GET], reader())
    warm = reader()
    assert len(story([b"\r\n", GET, b"\r\n", GET], warm).requests) == 2
    assert story([b"\r\n", b"\r\n"], warm).status == 400


def test_a_head_that_is_remembered_may_be_content_in_another_request() -> None:
    story([GET], reader())
    post = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n" % len(GET) + HOST
    seen = story([post, GET, GET], reader()).requests
    assert [one["method"] for one in seen] == ["POST", "GET"]
    assert seen[0]["body"] == GET.decode()


def test_a_body_is_not_kept_for_the_next_request() -> None:
    source = reader()
    assert source.receive(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n" + HOST + b"hi")
    assert source.body is not None
    assert source.receive(GET)
    assert source.body is None
    assert source.receive(GET)
    assert source.body is None


def test_memories_are_bounded() -> None:
    source = reader()
    for number in range(3000):
        data = b"GET /%d HTTP/1.1\r\nX-A: %d\r\n" % (number, number) + HOST
        assert source.receive(data)
        assert told(source)["target"] == f"/{number}"
        assert told(source)["fields"][0] == ["X-A", str(number)]


# A few words, so that equal ones often meet: what a warm reader remembers is nearly right, which is what could hurt.
TARGETS = st.sampled_from(["/", "/a", "/a?b", "/" + "long" * 80])
EXTRA = st.sampled_from(["", "X-A: 1\r\n", "X-A: 2\r\n", "Connection: keep-alive\r\n"])
BODIES = st.sampled_from([None, b"", b"hi", b"ho", GET, b"GET /\0", b"\r\n\r\n"])


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, dict[str, object]]:
    """Make a request: its bytes, and what is to be read from them."""
    method, target = draw(st.sampled_from(["GET", "POST"])), draw(TARGETS)
    minor, extra, body = draw(st.sampled_from([0, 1])), draw(EXTRA), draw(BODIES)
    chunked = body is not None and minor == 1 and draw(st.booleans())
    fields, content = extra + "Host: a.example\r\n", body or b""
    if chunked:
        fields += "Transfer-Encoding: chunked\r\n"
        content = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:1], content[1:]) if part)
        content += b"0\r\n\r\n"
    elif body is not None:
        fields += f"Content-Length: {len(body)}\r\n"
    expected = {
        "method": method,
        "target": target,
        "minor": minor,
        "fields": [line.split(": ", 1) for line in fields.splitlines()],
        "body": (body or b"").decode("latin-1"),
    }
    return f"{method} {target} HTTP/1.{minor}\r\n{fields}\r\n".encode() + content, expected


@repeatable
@given(sent=st.lists(requests(), min_size=1, max_size=8), cuts=st.randoms(use_true_random=False), whole=st.booleans())
def test_a_warm_reader_reads_what_was_sent(
    sent: list[tuple[bytes, dict[str, object]]], cuts: random.Random, whole: bool
) -> None:
    pieces = [data for data, _ in sent] if whole else split(b"".join(data for data, _ in sent), cuts)
    seen = story(pieces, reader())  # what earlier examples have left is remembered
    assert not seen.status
    assert [{name: one[name] for name in expected} for one, (_, expected) in zip(seen.requests, sent, strict=True)] == [
        expected for _, expected in sent
    ]


MUTATED = [case.data for case in VALID + INVALID]
NASTY = st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b"0", b"/", b"\xff", b"a"])


@repeatable
@given(
    data=st.lists(st.sampled_from(MUTATED), min_size=1, max_size=3).map(b"".join),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), NASTY), max_size=4),
    cuts=st.randoms(use_true_random=False),
)
def test_mutated_bytes_read_the_same_however_they_are_split(
    data: bytes, edits: list[tuple[int, int, bytes]], cuts: random.Random
) -> None:
    for position, removed, inserted in edits:
        data = data[:position] + inserted + data[position + removed :]
    limits = {"max_head": 128, "max_fields": 4, "max_body": 64}
    whole = cold([data], **limits)
    assert cold(byte_by_byte(data), **limits) == whole
    assert cold(split(data, cuts), **limits) == whole
    assert whole.status in (0, 400, 413, 414, 417, 431, 501, 505)


def split(data: bytes, cuts: random.Random) -> list[bytes]:
    """Cut `data` at a few random places."""
    places = sorted({0, len(data), *(cuts.randrange(len(data) + 1) for _ in range(cuts.randrange(8)))})
    return [data[start:end] for start, end in pairwise(places)]
