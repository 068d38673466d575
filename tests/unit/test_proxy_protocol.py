"""The PROXY protocol: what headers announce, in how many pieces they may come, and what is none."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawning.net.proxy_protocol import LONGEST, Announced, crc32c, read
from unit.proxy_headers import (
    SIGNATURE,
    TCP4,
    TCP6,
    UDP4,
    UNIX,
    UNSPECIFIED,
    field,
    tls,
    version_1,
    version_2,
)

IPV6 = ("2001:db8::7", "2001:db8::1")
SECURE = {"HTTPS": "on", "wsgi.url_scheme": "https", "SSL_CLIENT_VERIFY": "NONE"}

HEADERS = [
    (version_1(), ("203.0.113.7", "4711"), {}),
    (version_1("TCP6", *IPV6), ("2001:db8::7", "4711"), {}),
    (version_1("TCP6", "::ffff:203.0.113.7", "::1"), ("203.0.113.7", "4711"), {}),
    (version_1("TCP6", "2001:DB8:0::7", "::1", 0, 65535), ("2001:db8::7", "0"), {}),
    (b"PROXY UNKNOWN\r\n", (None, ""), {}),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", (None, ""), {}),
    (version_2(), ("203.0.113.7", "4711"), {}),
    (version_2(TCP6, ends=IPV6), ("2001:db8::7", "4711"), {}),
    (version_2(TCP6, ends=("::ffff:203.0.113.7", "::1")), ("203.0.113.7", "4711"), {}),
    (version_2(command=0x20), (None, ""), {}),
    (version_2(UNSPECIFIED, command=0x20), (None, ""), {}),
    (SIGNATURE + b"\x20\xff\x00\x03abc", (None, ""), {}),  # of LOCAL nothing but the length counts
    (version_2(UNSPECIFIED), (None, ""), {}),
    (SIGNATURE + b"\x21\x00\x00\x03abc", (None, ""), {}),
    (version_2(UNIX), (None, ""), {}),
    (version_2(UDP4), (None, ""), {}),
    (version_2(TCP4, field(0x04, bytes(3)), field(0x01, b"h2"), field(0xEA, b"\1\2")), ("203.0.113.7", "4711"), {}),
    (version_2(checked=True), ("203.0.113.7", "4711"), {}),
    (version_2(TCP4, tls()), ("203.0.113.7", "4711"), SECURE),
    (version_2(TCP4, tls(0)), ("203.0.113.7", "4711"), {}),
    (
        version_2(
            TCP4,
            field(0x02, b"www.example.com"),
            tls(
                7, 0, field(0x21, b"TLSv1.3"), field(0x22, "Jürgen".encode()), field(0x23, b"AES"), field(0x25, b"RSA")
            ),
            checked=True,
        ),
        ("203.0.113.7", "4711"),
        {
            **SECURE,
            "SSL_TLS_SNI": "www.example.com",
            "SSL_PROTOCOL": "TLSv1.3",
            "SSL_CIPHER": "AES",
            "SSL_CLIENT_S_DN_CN": "JÃ¼rgen",
            "SSL_CLIENT_VERIFY": "SUCCESS",
        },
    ),
    (version_2(TCP4, tls(3, 10)), ("203.0.113.7", "4711"), {**SECURE, "SSL_CLIENT_VERIFY": "FAILED:10"}),
    (version_2(TCP4, field(0x04, bytes(LONGEST - 31))), ("203.0.113.7", "4711"), {}),
]


@pytest.mark.parametrize(("header", "client", "environ"), HEADERS)
def test_what_a_header_announces_however_it_comes(
    header: bytes, client: tuple[str | None, str], environ: dict[str, str]
) -> None:
    announced = Announced(len(header), *client, environ)
    for behind in (b"", b"GET / HTTP/1.1\r\n", header):
        assert read(header + behind) == announced
    pieces = range(len(header)) if len(header) < 300 else (*range(40), len(header) - 1)
    assert all(read(header[:length]) is None for length in pieces)


def two_checksums() -> tuple[bytes, bytes]:
    """Write two of which the first one is right."""
    zero = field(3, bytes(4))
    return field(3, struct.pack("!I", crc32c(version_2(TCP4, zero, zero)))), zero


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "there is none"),
        (b"\x16\x03\x01", "there is none"),
        (b"\r\n\r\nGET", "there is none"),
        (b"PROXYTCP4", "there is none"),
        (b"proxy TCP4", "there is none"),
        (b"PROXY " + b"x" * 200, "too long"),
        (b"PROXY UNKNOWN" + b"x" * 93 + b"\r\n", "too long"),
        (b"PROXY \r\n", "malformed"),
        (b"PROXY TCP4\r\n", "malformed"),
        (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "malformed"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "malformed"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "malformed"),
        (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "malformed"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + b"x" * 100, "too long"),
        (version_1("TCP4", "::1", "::1"), "(?i)octets|expected 4"),
        (version_1("TCP6", "1.2.3.4", "1.2.3.4"), "(?i)at least 3 parts|ipv6"),
        (version_1("TCP4", "1.2.3.04"), "(?i)leading zeros"),
        (version_1("TCP4", "1.2.3.4", "1.2.3"), "(?i)octets"),
        (version_1("TCP6", "fe80::1%eth0", "::1"), "an address is malformed"),
        (version_1("TCP4", "1.2.3.4", "1.2.3.4", 1, 65536), "a port is malformed"),
        (version_1("TCP4", "1.2.3.4", "1.2.3.4", "-1", 2), "a port is malformed"),
        (version_1("TCP4", "1.2.3.4", "1.2.3.4", "01", 2), "leading zeros"),
        (version_1("TCP4", "1.2.3.4", "1.2.3.4", "1", ""), "a port is malformed"),
        (version_2(command=0x11), "version or the command"),
        (version_2(command=0x22), "version or the command"),
        (SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11), "too short for its addresses"),
        (SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12), "too short for its addresses"),
        (SIGNATURE + struct.pack("!BBH", 0x21, 0x11, LONGEST), "longer than"),
        (SIGNATURE + b"\x20\x00\xff\xff", "longer than"),
        (version_2(TCP4, b"\1"), "a field is cut"),
        (version_2(TCP4, b"\1\0\5abcd"), "longer than the header"),
        (version_2(TCP4, field(3, bytes(4))), "the checksum is wrong"),
        (version_2(TCP4, field(3, bytes(3))), "the checksum is malformed"),
        (version_2(TCP4, *two_checksums()), "there are two checksums"),
        (version_2(checked=True)[:-1] + b"\0", "the checksum is wrong"),
        (version_2(TCP4, field(0x20, b"\1\0\0")), "the field of TLS is cut"),
        (version_2(TCP4, tls(1, 0, b"\x22\0\x09ab")), "longer than the header"),
        (version_2(TCP4, tls(1, 0, field(0x22, b"good\0evil"))), "control characters"),
        (version_2(TCP4, field(0x02, b"a\r\nX: y")), "control characters"),
    ],
)
def test_what_is_none_or_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(data)


def test_the_checksum_is_that_of_iscsi() -> None:
    """RFC 3720, appendix B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(
    st.binary(max_size=60), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x20"])
)
def test_whatever_comes_is_announced_awaited_or_refused(data: bytes, begin: bytes) -> None:
    whole = begin + data
    try:
        announced = read(whole)
    except ValueError:
        return
    if announced is not None:
        assert 0 < announced.length <= len(whole)
        if announced.address is not None:
            socket.getaddrinfo(announced.address, announced.port, flags=socket.AI_NUMERICHOST)
