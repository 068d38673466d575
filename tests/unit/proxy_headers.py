"""PROXY headers as balancers write them; for tests and for fuzzing."""

import socket
import struct
from collections.abc import Sequence

from spawning.net.proxy_protocol import crc32c

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TCP4, TCP6, UNIX, UDP4, UNSPECIFIED = 0x11, 0x21, 0x31, 0x12, 0x00
CLIENT = ("203.0.113.7", 4711)
SERVER = ("192.0.2.1", 443)


def version_1(protocol: str = "TCP4", source: str = CLIENT[0], destination: str = SERVER[0], *ports: object) -> bytes:
    """Write a line."""
    first, second = ports or (CLIENT[1], SERVER[1])
    return f"PROXY {protocol} {source} {destination} {first} {second}\r\n".encode()


def field(kind: int, value: bytes) -> bytes:
    """Write one field."""
    return struct.pack("!BH", kind, len(value)) + value


def tls(client: int = 1, verify: int = 0, *fields: bytes) -> bytes:
    """Write what is said of the client's TLS."""
    return field(0x20, struct.pack("!BI", client, verify) + b"".join(fields))


def addresses(family: int, source: str = CLIENT[0], destination: str = SERVER[0]) -> bytes:
    """Write the addresses of a family."""
    if family in (TCP4, TCP6):
        known = socket.AF_INET if family == TCP4 else socket.AF_INET6
        ends = [socket.inet_pton(known, each) for each in (source, destination)]
        return b"".join(ends) + struct.pack("!HH", CLIENT[1], SERVER[1])
    return bytes({UNIX: 216, UDP4: 12}.get(family, 0))


def version_2(
    family: int = TCP4, *fields: bytes, command: int = 0x21, ends: Sequence[str] = (), checked: bool = False
) -> bytes:
    """Write a binary header.

    :param ends: source and destination.
    :param checked: with a checksum.
    """
    rest = addresses(family, *ends) + b"".join(fields) + (field(3, bytes(4)) if checked else b"")
    header = SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest
    return header[:-4] + struct.pack("!I", crc32c(header)) if checked else header
