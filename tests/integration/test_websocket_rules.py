"""RFC 6455 and 7692, by what the Autobahn suite tries: the number of its section stands behind each table."""

import zlib
from collections.abc import Iterator

import pytest

from integration.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    RawWebSocket,
    close,
)
from integration.server import Server

HELLO = Frame(TEXT, b"Hello")
FAILED = 1002
NOT_UTF8 = 1007
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that must have nothing to complain of in the end."""
    with Server("sockets.application", "-s", "1", "-t", "4", "-l", "/dev/null") as server:
        yield server
        assert "Traceback" not in server.log()
        assert " ERROR " not in server.log()


def part(opcode: int, payload: bytes, *, last: bool = False) -> Frame:
    return Frame(opcode, payload, fin=last)


def pieces(payload: bytes, size: int, opcode: int = TEXT) -> list[Frame]:
    """Fragment a message."""
    cut = [payload[at : at + size] for at in range(0, len(payload), size)]
    return [Frame(opcode if at == 0 else CONTINUATION, each, fin=at == len(cut) - 1) for at, each in enumerate(cut)]


def code_of(frame: Frame) -> int | None:
    assert frame.opcode == CLOSE
    return int.from_bytes(frame.payload[:2], "big") if frame.payload else None


def converse(server: Server, sent: list[Frame], chop: int = 0, target: str = "/plain") -> list[Frame]:
    """Send frames and a close frame, and return what comes back until the end."""
    with RawWebSocket(server.port, target) as ws:
        ws.send(*sent, close(1000), chop=chop)
        return ws.read_all()


# What is answered, and then the close frame of the client -------------------------------------------------------------

SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536, 200_000)
GREEK = "κόσμε €𝄞 ".encode()

ANSWERED: dict[str, tuple[list[Frame], list[Frame]]] = {
    # 1: framing
    **{f"1.1 text of {size}": ([Frame(TEXT, b"*" * size)], [Frame(TEXT, b"*" * size)]) for size in SIZES},
    **{f"1.2 binary of {size}": ([Frame(BINARY, b"\xfe" * size)], [Frame(BINARY, b"\xfe" * size)]) for size in SIZES},
    # 2: pings and pongs
    "2.1 ping": ([Frame(PING)], [Frame(PONG)]),
    "2.2 ping with text": ([Frame(PING, b"Hello")], [Frame(PONG, b"Hello")]),
    "2.3 ping with bytes": ([Frame(PING, b"\x00\xff\xfe")], [Frame(PONG, b"\x00\xff\xfe")]),
    "2.4 ping of 125": ([Frame(PING, b"\xfe" * 125)], [Frame(PONG, b"\xfe" * 125)]),
    "2.7 pong": ([Frame(PONG)], []),
    "2.8 pong with text": ([Frame(PONG, b"unasked")], []),
    "2.9 pong, ping": ([Frame(PONG, b"unasked"), Frame(PING, b"asked")], [Frame(PONG, b"asked")]),
    "2.10 ten pings": ([Frame(PING, b"%d" % n) for n in range(10)], [Frame(PONG, b"%d" % n) for n in range(10)]),
    # 5: fragmentation
    "5.3 two fragments": ([part(TEXT, b"a"), part(CONTINUATION, b"b", last=True)], [Frame(TEXT, b"ab")]),
    "5.6 a ping in between": (
        [part(TEXT, b"a"), Frame(PING, b"p"), part(CONTINUATION, b"b", last=True)],
        [Frame(PONG, b"p"), Frame(TEXT, b"ab")],
    ),
    "5.19 fragments, pings": (
        [
            part(TEXT, b"a"), part(CONTINUATION, b"b"), Frame(PING, b"1"), part(CONTINUATION, b"c"),
            Frame(PING, b"2"), part(CONTINUATION, b"d", last=True),
        ],
        [Frame(PONG, b"1"), Frame(PONG, b"2"), Frame(TEXT, b"abcd")],
    ),
    "5.x empty fragments": (
        [part(BINARY, b""), part(CONTINUATION, b""), part(CONTINUATION, b"", last=True)],
        [Frame(BINARY)],
    ),
    # 6: UTF-8
    "6.1 empty text in three fragments": (
        [part(TEXT, b""), part(CONTINUATION, b""), part(CONTINUATION, b"", last=True)],
        [Frame(TEXT)],
    ),
    "6.2 valid": ([Frame(TEXT, GREEK)], [Frame(TEXT, GREEK)]),
    "6.2 valid, fragmented inside of characters": (pieces(GREEK, 1), [Frame(TEXT, GREEK)]),
    **{
        f"6.x valid U+{ord(character):04X}": ([Frame(TEXT, character.encode())], [Frame(TEXT, character.encode())])
        for character in ("\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffe", "\uffff",
                          "\U00010000", "\U0010fffe", "\U0010ffff")
    },
    # 9: larger ones
    "9.1 text of 4 MiB": ([Frame(TEXT, b"*" * (4 << 20))], [Frame(TEXT, b"*" * (4 << 20))]),
    "9.2 binary of 4 MiB": ([Frame(BINARY, b"\xfe" * (4 << 20))], [Frame(BINARY, b"\xfe" * (4 << 20))]),
    **{
        f"9.3 1 MiB in fragments of {size}": (pieces(b"*" * (1 << 20), size), [Frame(TEXT, b"*" * (1 << 20))])
        for size in (1024, 65536)
    },
    "9.7 a thousand messages": ([Frame(TEXT, b"*" * 64)] * 1000, [Frame(TEXT, b"*" * 64)] * 1000),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERED)
def test_what_follows_the_rules_is_answered(server: Server, case: str) -> None:
    sent, expected = ANSWERED[case]
    assert converse(server, sent) == [*expected, close(1000)]


@pytest.mark.parametrize("case", [case for case, (sent, _) in ANSWERED.items() if len(sent[0].payload) < 1000])
def test_it_is_answered_byte_by_byte_too(server: Server, case: str) -> None:
    sent, expected = ANSWERED[case]
    if sum(len(each.payload) for each in sent) < 1000:
        assert converse(server, sent, chop=1) == [*expected, close(1000)]


# What breaks a rule ---------------------------------------------------------------------------------------------------

NO_UTF8 = {
    "a lone continuation byte": b"\x80",
    "two of them": b"\x80\xbf",
    "a sequence of two that breaks off": b"\xc3",
    "a sequence of three that breaks off": b"\xe2\x82",
    "a sequence of four that breaks off": b"\xf0\x9d\x84",
    "a first byte and a letter": b"\xc3a",
    "an overlong slash in two": b"\xc0\xaf",
    "an overlong slash in three": b"\xe0\x80\xaf",
    "an overlong slash in four": b"\xf0\x80\x80\xaf",
    "an overlong zero": b"\xc0\x80",
    "the longest that is overlong in two": b"\xc1\xbf",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xbf\xbf",
    "behind the last character": b"\xf4\x90\x80\x80",
    "a sequence of five": b"\xf8\x88\x80\x80\x80",
    "a sequence of six": b"\xfc\x84\x80\x80\x80\x80",
    "a byte that none begins with": b"\xfe",
    "another": b"\xff",
    "in the middle of text": "κόσμε".encode() + b"\xed\xa0\x80" + b"edited",
}

RESERVED = (*range(3, 8), *range(11, 16))

FAILING: dict[str, tuple[list[Frame | bytes], list[Frame], int]] = {
    "2.5 ping of 126": ([Frame(PING, b"\xfe" * 126)], [], FAILED),
    # 3: reserved bits
    **{f"3.1 text with reserved bits {rsv}": ([Frame(TEXT, b"a", rsv=rsv)], [], FAILED) for rsv in range(1, 8)},
    "3.2 behind a good one": ([HELLO, Frame(TEXT, b"a", rsv=2), Frame(PING)], [HELLO], FAILED),
    "3.5 binary": ([Frame(BINARY, b"\xff", rsv=5)], [], FAILED),
    "3.6 ping": ([Frame(PING, b"a", rsv=6)], [], FAILED),
    "3.7 close": ([Frame(CLOSE, rsv=7)], [], FAILED),
    # 4: opcodes
    **{f"4 opcode {opcode}": ([HELLO, Frame(opcode, b"a")], [HELLO], FAILED) for opcode in RESERVED},
    # 5: fragmentation
    "5.1 a ping in fragments": ([part(PING, b"a"), part(CONTINUATION, b"b", last=True)], [], FAILED),
    "5.2 a pong in fragments": ([part(PONG, b"a"), part(CONTINUATION, b"b", last=True)], [], FAILED),
    "5.9 the end of nothing": ([part(CONTINUATION, b"a", last=True), HELLO], [], FAILED),
    "5.12 the middle of nothing": ([part(CONTINUATION, b"a"), HELLO], [], FAILED),
    "5.15 more behind the end": (
        [part(TEXT, b"a"), part(CONTINUATION, b"b", last=True), part(CONTINUATION, b"c"), HELLO],
        [Frame(TEXT, b"ab")],
        FAILED,
    ),
    "5.18 another message in between": ([part(TEXT, b"a"), HELLO], [], FAILED),
    # 6: UTF-8
    **{f"6.3 {what}": ([Frame(TEXT, data)], [], NOT_UTF8) for what, data in NO_UTF8.items()},
    "6.4 in the first of fragments": ([part(TEXT, b"\xf4\x90\x80\x80"), part(CONTINUATION, b"a")], [], NOT_UTF8),
    # 7: closing
    "7.3.2 a close of one byte": ([Frame(CLOSE, b"\x03")], [], FAILED),
    "7.3.6 a close of 126": ([close(1000, b"*" * 124)], [], FAILED),
    "7.5.1 a reason that is no UTF-8": ([close(1000, b"\xed\xa0\x80")], [], NOT_UTF8),
    **{
        f"7.9 code {code}": ([close(code)], [], FAILED)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
    # section 5.1 and 5.2 of the RFC, where Autobahn cannot do otherwise
    "no mask": ([bytes([0x81, 2]) + b"hi"], [], FAILED),
    "a length in two bytes that needs one": ([bytes([0x82, 128 | 126, 0, 5, 0, 0, 0, 0]) + b"hello"], [], FAILED),
    "a length in eight bytes that needs two": ([bytes([0x82, 255, *([0] * 7), 5, 0, 0, 0, 0]) + b"hello"], [], FAILED),
    "a length with its highest bit": ([bytes([0x82, 255, 128, *([0] * 7), 0, 0, 0, 0])], [], FAILED),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILING)
def test_what_breaks_a_rule_ends_the_connection_with_a_code(server: Server, case: str) -> None:
    sent, expected, code = FAILING[case]
    with RawWebSocket(server.port, "/plain") as ws:
        ws.send(*sent)
        *answered, last = ws.read_all()
        assert answered == expected
        assert code_of(last) == code


@pytest.mark.parametrize("what", NO_UTF8)
def test_it_ends_at_the_first_byte_that_is_no_utf_8(server: Server, what: str) -> None:
    with RawWebSocket(server.port, "/plain") as ws:  # the rest of the frame never comes
        whole = Frame(TEXT, NO_UTF8[what] + b"*" * 100).encoded()
        ws.send(whole[:-99])
        assert code_of(ws.read()) == NOT_UTF8


# Closing --------------------------------------------------------------------------------------------------------------

VALID_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999)


@pytest.mark.parametrize("code", VALID_CODES)
def test_a_close_is_answered_with_its_code(server: Server, code: int) -> None:  # 7.7
    with RawWebSocket(server.port, "/plain") as ws:
        ws.send(close(code, b"*" * 123))
        assert [code_of(each) for each in ws.read_all()] == [code]


def test_a_close_without_a_code_is_answered_without_one(server: Server) -> None:  # 7.3.1
    with RawWebSocket(server.port, "/plain") as ws:
        ws.send(close())
        assert ws.read_all() == [Frame(CLOSE)]


@pytest.mark.parametrize(
    "behind",
    [[close(1000)], [Frame(PING)], [HELLO], [part(CONTINUATION, b"b", last=True)], [Frame(TEXT, b"*" * 256_000)]],
    ids=["close", "ping", "text", "continuation", "a large one"],
)  # 7.1
def test_what_comes_behind_a_close_is_not_answered(server: Server, behind: list[Frame]) -> None:
    with RawWebSocket(server.port, "/plain") as ws:
        ws.send(part(TEXT, b"a"), close(1000), *behind)
        assert ws.read_all() == [close(1000)]


# Limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [[Frame(TEXT, b"*" * 1001)], pieces(b"*" * 2000, 100, BINARY), [Frame(TEXT, "€".encode() * 334)]],
    ids=["one frame", "fragments", "bytes count, not characters"],
)
def test_a_message_that_is_too_long_closes(server: Server, frames: list[Frame]) -> None:
    with RawWebSocket(server.port, "/small") as ws:
        ws.send(Frame(TEXT, b"*" * 1000))
        assert ws.read() == Frame(TEXT, b"*" * 1000)
        ws.send(*frames)
        assert [code_of(each) for each in ws.read_all()] == [1009]


def test_what_becomes_too_long_when_it_is_unpacked_closes(server: Server) -> None:
    with RawWebSocket(server.port, "/echo", DEFLATE) as ws:
        bomb = deflated(bytes(200 << 20))
        assert len(bomb) < 300_000
        ws.send(Frame(BINARY, bomb, rsv=4))
        assert [code_of(each) for each in ws.read_all()] == [1009]


# 12 and 13: compression -----------------------------------------------------------------------------------------------

OFFERS = {
    "permessage-deflate": True,
    "permessage-deflate; client_max_window_bits": True,
    "permessage-deflate; client_max_window_bits=9": True,
    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9": True,
    "permessage-deflate; server_max_window_bits=15": True,
    'permessage-deflate; client_max_window_bits="10"': True,
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover": True,
    "permessage-deflate; server_max_window_bits=8": False,  # zlib has no such window
    "permessage-deflate; server_max_window_bits=16": False,
    "permessage-deflate; server_max_window_bits=8, permessage-deflate": True,
    "permessage-deflate; unknown": False,
    "permessage-deflate; client_max_window_bits=x": False,
    "permessage-deflate; client_max_window_bits; client_max_window_bits": False,
    "permessage-deflate; server_no_context_takeover=1": False,
    "x-webkit-deflate-frame": False,
    "x-webkit-deflate-frame, permessage-deflate": True,
}


def deflated(data: bytes, bits: int = 15) -> bytes:
    pressing = zlib.compressobj(wbits=-bits)
    return (pressing.compress(data) + pressing.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(data: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(data + b"\x00\x00\xff\xff")


@pytest.mark.parametrize("offer", OFFERS)
def test_compression_is_agreed_on_as_it_is_offered(server: Server, offer: str) -> None:
    with RawWebSocket(server.port, "/echo", f"Sec-WebSocket-Extensions: {offer}") as ws:
        agreed = "Sec-WebSocket-Extensions: permessage-deflate;" in ws.head
        assert agreed is OFFERS[offer]
        if agreed:
            for _ in range(2):
                ws.send(Frame(TEXT, deflated(b"*" * 3000, 9), rsv=4))
                answer = ws.read()
                assert (answer.rsv, inflated(answer.payload)) == (4, b"*" * 3000)
        ws.send(HELLO, close(1000))
        assert len(ws.read_all()) == 2


COMPRESSED = (0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072, 1 << 20)


@pytest.mark.parametrize("size", COMPRESSED)
@pytest.mark.parametrize("fragment", [0, 1024])
def test_compressed_messages_are_answered(server: Server, size: int, fragment: int) -> None:
    data = bytes(n * n & 127 for n in range(size))
    pressed = deflated(data)
    frames = pieces(pressed, fragment, BINARY) if fragment else [Frame(BINARY, pressed)]
    first = Frame(frames[0].opcode, frames[0].payload, frames[0].fin, rsv=4)
    with RawWebSocket(server.port, "/echo", DEFLATE) as ws:
        ws.send(first, *frames[1:], Frame(PING, b"p"), first, *frames[1:])
        answers = [ws.read() for _ in range(3)]
        assert [each.opcode for each in answers] == [BINARY, PONG, BINARY]
        assert inflated(answers[0].payload) == inflated(answers[2].payload) == data


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([Frame(TEXT, b"\xff\xff\xff", rsv=4)], NOT_UTF8),  # nothing that was deflated
        ([Frame(TEXT, deflated(b"\xff"), rsv=4)], NOT_UTF8),
        ([Frame(PING, b"a", rsv=4)], FAILED),
        ([Frame(TEXT, deflated(b"a"), fin=False, rsv=4), Frame(CONTINUATION, b"", rsv=4)], FAILED),
        ([Frame(TEXT, deflated(b"a"), rsv=6)], FAILED),
    ],
    ids=["garbage", "no UTF-8", "a compressed ping", "the bit on a continuation", "another bit"],
)
def test_compression_that_breaks_a_rule_closes(server: Server, frames: list[Frame], code: int) -> None:
    with RawWebSocket(server.port, "/echo", DEFLATE) as ws:
        ws.send(*frames)
        assert [code_of(each) for each in ws.read_all()] == [code]


def test_what_is_not_compressed_is_answered_where_it_might_be(server: Server) -> None:
    with RawWebSocket(server.port, "/echo", DEFLATE) as ws:
        ws.send(HELLO)
        assert inflated(ws.read().payload) == b"Hello"
