"""The PROXY protocol, versions 1 and 2: what a load balancer says of a client before anything else, on its connection.

Pure: bytes in, what they announce out. The words are those of the specification, which is HAProxy's
(https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt; sections in the docstrings are of that).

Nothing is guessed. What is malformed is refused, also where a receiver may be lenient, since the address that a site
sees depends on it. What a header may hold and nobody here needs (ALPN, a unique id, a network namespace) is skipped.
"""

import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

LONGEST: Final = 16384  # bytes of a header; a client's certificate may be in it
_LONGEST_LINE: Final = 107  # bytes of a header of version 1, with its end (section 2.1)

_LINE: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = struct.Struct("!12sBBH")  # signature, version and command, family and protocol, length of the rest
_FIELD: Final = struct.Struct("!BH")  # type and length
_TLS: Final = struct.Struct("!BI")  # client, verify
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_SIZES: Final = {_TCP4: 12, 0x12: 12, _TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}

_AUTHORITY, _CHECKSUM, _TLS_TYPE = 0x02, 0x03, 0x20
_TLS_KEYS: Final = {0x21: "SSL_PROTOCOL", 0x22: "SSL_CLIENT_S_DN_CN", 0x23: "SSL_CIPHER"}
_WITH_TLS, _WITH_CERTIFICATE = 0x01, 0x02 | 0x04

_Field = tuple[int, int, bytes]  # where its value begins in the header, its type, its value


class Announced(NamedTuple):
    """What a header says.

    :param length: of the header, in bytes.
    :param address: of the client; None when it speaks of nobody else: the connection is the balancer's own, such as a
        health check, or its client has no address.
    :param port: of the client.
    :param environ: what the header says of the client's TLS, under the names that mod_ssl gives it.
    """

    length: int
    address: str | None = None
    port: str = ""
    environ: Mapping[str, str] = {}


def read(data: bytes) -> Announced | None:
    """Read the header at the beginning of what a connection has sent.

    :param data: all that has come.
    :returns: None: it is not whole yet.
    :raises ValueError: this is no header, or a malformed one; says why.
    """
    if data.startswith(_SIGNATURE[: len(data)]):
        return _version_2(data)
    if data.startswith(_LINE[: len(data)]):
        return _version_1(data)
    raise ValueError("there is none")


# Version 1: a line of text (section 2.1) -----------------------------------------------------------------------------


def _version_1(data: bytes) -> Announced | None:
    line, end, _ = data[:_LONGEST_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= _LONGEST_LINE:
            raise ValueError("the line is too long")
        return None
    length = len(line) + 2
    _, protocol, *rest = line.split(b" ")
    if protocol == b"UNKNOWN":
        return Announced(length)
    if protocol not in (b"TCP4", b"TCP6") or len(rest) != 4:
        raise ValueError("the line is malformed")
    source, destination, *ports = (each.decode("latin-1") for each in rest)
    kind = IPv4Address if protocol == b"TCP4" else IPv6Address
    if not (source.isascii() and destination.isascii()) or "%" in source:
        raise ValueError("an address is malformed")
    kind(destination)
    for port in ports:
        _check_port(port)
    return Announced(length, _shown(kind(source)), ports[0])


def _check_port(text: str) -> None:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError("a port is malformed")
    if text != str(int(text)):
        raise ValueError("a port has leading zeros")


def _shown(address: IPv4Address | IPv6Address) -> str:
    """Write an address; one of IPv4 that is in IPv6's clothes without them."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


# Version 2: binary (section 2.2) -------------------------------------------------------------------------------------


def _version_2(data: bytes) -> Announced | None:
    if len(data) < _FIXED.size:
        return None
    _, command, family, rest = _FIXED.unpack_from(data)
    length = _FIXED.size + rest
    if command not in (_LOCAL, _PROXY):
        raise ValueError("the version or the command is unknown")
    if length > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} bytes")
    if command == _PROXY and rest < _SIZES.get(family, 0):
        raise ValueError("it is too short for its addresses")
    if len(data) < length:
        return None
    if command == _LOCAL:
        return Announced(length)
    header = data[:length]
    environ = _environ(header, _FIXED.size + _SIZES.get(family, rest))  # of a family that is unknown, all is skipped
    if family == _TCP4:
        source, _, port, _ = struct.unpack_from("!4s4sHH", header, _FIXED.size)
    elif family == _TCP6:
        source, _, port, _ = struct.unpack_from("!16s16sHH", header, _FIXED.size)
    else:
        return Announced(length, environ=environ)
    return Announced(length, _shown(ip_address(source)), str(port), environ)


def _environ(header: bytes, start: int) -> dict[str, str]:
    """Return what the fields behind the addresses say (section 2.2)."""
    environ: dict[str, str] = {}
    checked = False
    for at, kind, value in _fields(header, start):
        if kind == _CHECKSUM:
            if checked:  # each of many would be one more look at the whole header
                raise ValueError("there are two checksums")
            checked = True
            _check_sum(header, at, value)
        elif kind == _AUTHORITY:
            environ["SSL_TLS_SNI"] = _text(value)
        elif kind == _TLS_TYPE:
            environ |= _tls(value)
    return environ


def _fields(data: bytes, start: int) -> Iterator[_Field]:
    while start < len(data):
        if start + _FIELD.size > len(data):
            raise ValueError("a field is cut")
        kind, length = _FIELD.unpack_from(data, start)
        start += _FIELD.size
        if start + length > len(data):
            raise ValueError("a field is longer than the header")
        yield start, kind, data[start : start + length]
        start += length


def _tls(value: bytes) -> dict[str, str]:
    """Return what is said of the client's TLS (``PP2_TYPE_SSL``, section 2.2.6); nothing if it had none."""
    if len(value) < _TLS.size:
        raise ValueError("the field of TLS is cut")
    client, verify = _TLS.unpack_from(value)
    if not client & _WITH_TLS:
        return {}
    environ = {"HTTPS": "on", "wsgi.url_scheme": "https"}
    for _, kind, text in _fields(value, _TLS.size):
        if kind in _TLS_KEYS:
            environ[_TLS_KEYS[kind]] = _text(text)
    verified = "SUCCESS" if verify == 0 else f"FAILED:{verify}"
    environ["SSL_CLIENT_VERIFY"] = verified if client & _WITH_CERTIFICATE else "NONE"
    return environ


def _text(value: bytes) -> str:
    """Return a text as environs have it, one character an octet (PEP 3333)."""
    if any(octet < 32 or octet == 127 for octet in value):
        raise ValueError("a text has control characters")
    return value.decode("latin-1")


# The checksum (section 2.2.3): CRC-32C, RFC 3720 appendix B.4 --------------------------------------------------------


def _table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        value = octet
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes."""
    value = 0xFFFFFFFF
    for octet in data:
        value = _TABLE[(value ^ octet) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _check_sum(header: bytes, at: int, value: bytes) -> None:
    if len(value) != 4:
        raise ValueError("the checksum is malformed")
    if int.from_bytes(value) != crc32c(header[:at] + bytes(4) + header[at + 4 :]):
        raise ValueError("the checksum is wrong")
