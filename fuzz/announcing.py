"""A PROXY header is read alike in however many pieces it comes; it announces addresses, ports and texts alone."""

from collections.abc import Iterator
from ipaddress import ip_address

from spawning.net.proxy_protocol import LONGEST, Announced, read
from unit.proxy_headers import SIGNATURE, TCP4, TCP6, UDP4, UNIX, UNSPECIFIED, field, tls, version_1, version_2

ENOUGH = 64  # bytes, piece by piece; of the rest a few


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield headers of all kinds."""
    told = tls(7, 0, field(0x21, b"TLSv1.3"), field(0x22, b"Jane"), field(0x23, b"AES"))
    headers = (
        version_1(),
        version_1("TCP6", "2001:db8::7", "::1"),
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        version_2(),
        version_2(TCP6, told, ends=("2001:db8::7", "::1"), checked=True),
        version_2(TCP4, field(0x02, b"www.example.com"), field(0x04, bytes(3)), told, checked=True),
        version_2(command=0x20),
        version_2(UNIX, told),
        version_2(UDP4),
        version_2(UNSPECIFIED, told),
        SIGNATURE,
    )
    for number, header in enumerate(headers):
        yield str(number), header
        yield f"{number}-more", header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def one_input(source: bytes) -> None:
    """Raise if what is read depends on how it comes, or if something else than was promised is announced."""
    whole = outcome(source)
    lengths = [*range(min(len(source), ENOUGH)), *range(ENOUGH, len(source), 97)]
    for length in lengths:
        part = outcome(source[:length])
        assert part in (None, whole) or (isinstance(part, str) and isinstance(whole, str)), (length, part, whole)
    if not isinstance(whole, Announced):
        assert whole is not None or len(source) < LONGEST, "it is waited for longer than a header may be"
        return
    assert 0 < whole.length <= min(len(source), LONGEST)
    assert outcome(source[: whole.length]) == whole
    assert outcome(source[: whole.length] + b"\0PROXY") == whole
    assert outcome(source[: whole.length - 1]) is None
    check(whole)


def outcome(data: bytes) -> Announced | str | None:
    """Return what is announced, or why nothing is; None: there has to be more."""
    try:
        return read(data)
    except ValueError as error:
        return str(error) or "refused"


def check(announced: Announced) -> None:
    """See that an environ may have all of it."""
    if announced.address is not None:
        assert str(ip_address(announced.address)) == announced.address
        assert 0 <= int(announced.port) <= 65535
        assert announced.port == str(int(announced.port))
    for name, value in announced.environ.items():
        assert name == "wsgi.url_scheme" or name.startswith("SSL_") or name == "HTTPS"
        value.encode("latin-1")
        assert not any(ord(each) < 32 or ord(each) == 127 for each in value), value
