"""What a certificate says (RFC 5280), as far as a server wants to know: whose it is, for which names, and until when.

Pure: bytes in, a :class:`Certificate` out. The ``ssl`` module checks certificates and does not show its own.
"""

import ipaddress
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")

# Tags of ASN.1, as bytes of DER have them (ITU-T X.690).
_OBJECT, _OCTETS, _SEQUENCE, _SET = 0x06, 0x04, 0x30, 0x31
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_TEXTS: Final = {
    0x0C: "utf-8", 0x12: "ascii", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1A: "ascii", 0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}  # fmt: skip
_ALTERNATIVE_NAMES: Final = "2.5.29.17"
_COMMON_NAME: Final = "2.5.4.3"

_SHORT: Final = {
    _COMMON_NAME: "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
    "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
    "2.5.4.15": "businessCategory", "2.5.4.17": "postalCode", "2.5.4.42": "GN", "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress", "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST", "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}  # fmt: skip
"""Object identifier to what OpenSSL calls it, and so mod_ssl."""
_ESCAPED: Final = re.compile(r'[,+"\\<>;]|^[# ]|\A |(?<!\A) \Z')


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says.

    :param subject: whose it is, as RFC 2253 writes it.
    :param names: hosts and addresses, in lower case; ``*.example.com`` stands for all right below.
    :param begins: when it begins to be valid, seconds since the epoch.
    :param ends: when it ceases to be.
    """

    subject: str
    names: tuple[str, ...]
    begins: float
    ends: float


class _Item(NamedTuple):
    tag: int
    content: bytes
    whole: bytes


def certificates(text: str) -> list[bytes]:
    """List the certificates of a PEM text, as DER, in their order.

    :raises ValueError: one is no base64.
    """
    return [ssl.PEM_cert_to_DER_cert(found[0]) for found in _PEM.finditer(text)]


def read(der: bytes) -> Certificate:
    """Read a certificate.

    :raises ValueError: it is malformed.
    """
    try:
        (certificate,) = _items(der)
        fields = list(_items(_first(certificate.content).content))
        if fields[0].tag == _VERSION:
            del fields[0]
        _, _, _, validity, subject, *rest = fields
        begins, ends = map(_time, _items(validity.content))
        names = [name for item in rest if item.tag == _EXTENSIONS for name in _alternative_names(item.content)]
        attributes = [list(map(_attribute, _items(each.content))) for each in _items(subject.content)]
        if not names:
            names = [_text(value) or "" for each in attributes for kind, value in each if kind == _COMMON_NAME]
    except (IndexError, ValueError) as error:
        raise ValueError(f"a certificate is malformed: {error}") from None
    return Certificate(_written(attributes), tuple(name.lower() for name in names), begins, ends)


def _items(data: bytes) -> Iterator[_Item]:
    """Yield the items of DER, one behind the other.

    :raises ValueError: something is longer than the data.
    """
    at = 0
    while at < len(data):
        start = at
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[at : at + count])
            at += count
        if at + length > len(data):
            raise ValueError("it is cut")
        yield _Item(tag, data[at : at + length], data[start : at + length])
        at += length


def _first(data: bytes) -> _Item:
    for item in _items(data):
        return item
    raise ValueError("it is empty where it must not be")


def _time(item: _Item) -> float:
    text = item.content.decode("ascii")
    if item.tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text  # RFC 5280 section 4.1.2.5.1
    elif item.tag != _GENERALIZED_TIME:
        raise ValueError("it has no time where it has to have one")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _alternative_names(extensions: bytes) -> Iterator[str]:
    """Yield the DNS names of RFC 5280, section 4.2.1.6."""
    for extension in _items(_first(extensions).content):
        kind, *_, value = _items(extension.content)
        if _dotted(kind.content) != _ALTERNATIVE_NAMES:
            continue
        for name in _items(_first(value.content).content):
            if name.tag == _DNS_NAME:
                yield name.content.decode("latin-1")
            elif name.tag == _IP_ADDRESS and len(name.content) in (4, 16):
                yield str(ipaddress.ip_address(name.content))


def _attribute(item: _Item) -> tuple[str, _Item]:
    kind, value = _items(item.content)
    return _dotted(kind.content), value


def _dotted(content: bytes) -> str:
    """Return an object identifier as numbers between dots (X.690 section 8.19)."""
    numbers = [0]
    for octet in content:
        numbers[-1] = numbers[-1] << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(0)
    numbers.pop()
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _text(value: _Item) -> str | None:
    encoding = _TEXTS.get(value.tag)
    return value.content.decode(encoding) if encoding is not None else None


def _written(subject: list[list[tuple[str, _Item]]]) -> str:
    """Write a subject as RFC 2253 does: the last part first."""
    return ",".join("+".join(_pair(kind, value) for kind, value in each) for each in reversed(subject))


def _pair(kind: str, value: _Item) -> str:
    text = _text(value)
    if text is None or kind not in _SHORT:
        return f"{_SHORT.get(kind, kind)}=#{value.whole.hex().upper()}"
    escaped = _ESCAPED.sub(lambda found: f"\\{found[0]}", text)
    return f"{_SHORT[kind]}={''.join(_shown(each) for each in escaped)}"


def _shown(character: str) -> str:
    return f"\\{ord(character):02X}" if character < " " or character == "\x7f" else character
