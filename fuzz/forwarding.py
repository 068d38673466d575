"""What a client writes into the fields that proxies append to changes nothing but, at worst, that it is refused.

An input chooses what the trusted proxies have appended; the rest is what the client had sent before.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from spawning.errors import ProtocolError
from spawning.http import grammar
from spawning.wsgi.forwarded import Origin, Trust, resolve

TRUST = Trust(["10.0.0.0/8", "2001:db8:1::/48"])
APPENDED = (
    {"HTTP_X_FORWARDED_FOR": "203.0.113.7"},
    {"HTTP_X_FORWARDED_FOR": "203.0.113.7, 10.0.0.2, 10.1.1.1"},
    {"HTTP_X_FORWARDED_FOR": "2001:db8::7"},
    {"HTTP_X_FORWARDED_FOR": "unknown"},
    {"HTTP_FORWARDED": "for=203.0.113.7;proto=https;host=a.example"},
    {"HTTP_FORWARDED": 'for="203.0.113.7:4711"; host="a.example:81" , for="[2001:db8:1::1]"'},
    {"HTTP_FORWARDED": 'proto="https";for="_hidden";by="b"'},
    {"HTTP_FORWARDED": "by=10.0.0.1;for=203.0.113.7"},
)
ALONE = [resolve(said, TRUST) for said in APPENDED]
ADDED = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX")


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield what a client might try with each."""
    for number in range(len(APPENDED)):
        for name, text in (
            ("for", b"for=10.0.0.1;proto=http"),
            ("quote", b'for="'),
            ("backslash", b'a="\\'),
            ("list", b"127.0.0.1, 10.0.0.1"),
            ("empty", b",;,"),
        ):
            yield f"{number}-{name}", bytes([number]) + text


def one_input(source: bytes) -> None:
    """Raise if the client's words count."""
    number = (source[0] if source else 0) % len(APPENDED)
    text = source[1:].decode("latin-1")
    if not grammar.FIELD.fullmatch(f"a:{text}"):  # the reader refuses it
        return
    ((key, appended),) = APPENDED[number].items()
    found = resolved({key: f"{text}, {appended}"})
    assert found in (None, ALONE[number]), (found, ALONE[number])
    for other in ADDED:
        check(resolved({key: appended, other: text}))
    check(resolved({key: text}))


def resolved(said: dict[str, str]) -> Origin | None:
    """Return what the fields say, None if they are refused."""
    try:
        return resolve(said, TRUST)
    except ProtocolError:
        return None


def check(origin: Origin | None) -> None:
    """See that nothing but addresses, ports, schemes, hosts and paths goes into an environ."""
    if origin is None:
        return
    if origin.address:
        ip_address(origin.address)
    environ: dict[str, object] = {"SCRIPT_NAME": "", "wsgi.url_scheme": "http", "SERVER_PORT": "80"}
    origin.put_into(environ)
    assert origin.port == "" or int(origin.port) <= 65535
    assert str(environ["SERVER_PORT"]).isascii()
    assert str(environ["SERVER_PORT"]).isdigit()
    assert environ["wsgi.url_scheme"] in ("http", "https")
    assert grammar.HOST.fullmatch(str(environ.get("HTTP_HOST", "")))
    prefix = str(environ["SCRIPT_NAME"])
    assert prefix == "" or (prefix.startswith("/") and "//" not in prefix and not prefix.endswith("/")), prefix
