"""Addresses as text: what they mean, what is none and what would be right, and that a listener's name leads back."""

import pytest

from spawning.address import Address, Kind, Speaks, parse
from spawning.errors import ConfigError
from spawning.settings import checked


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", Address(Kind.TCP, host="127.0.0.1", port=8000)),
        ("localhost:0", Address(Kind.TCP, host="localhost", port=0)),
        (":8000", Address(Kind.TCP, port=8000)),
        ("[::1]:8000", Address(Kind.TCP, host="::1", port=8000)),
        ("[fe80::1%eth0]:80", Address(Kind.TCP, host="fe80::1%eth0", port=80)),
        ("[::]:80?v6only", Address(Kind.TCP, host="::", port=80, v6only=True)),
        ("[::]:80?v6only=no&proxy=on", Address(Kind.TCP, host="::", port=80, proxy=True)),
        ("unix:/run/site.sock", Address(Kind.UNIX, path="/run/site.sock")),
        ("unix:site.sock?mode=0600", Address(Kind.UNIX, path="site.sock", mode=0o600)),
        (
            "unix:/s?mode=666&owner=www-data&group=33&proxy",
            Address(Kind.UNIX, path="/s", mode=0o666, owner="www-data", group="33", proxy=True),
        ),
        ("unix:@site", Address(Kind.UNIX, path="@site")),
        ("fd:3", Address(Kind.FD, number=3)),
        ("systemd:web", Address(Kind.SYSTEMD, name="web")),
        ("systemd:?proxy", Address(Kind.SYSTEMD, proxy=True)),
        ("systemd:?tls=tcp", Address(Kind.SYSTEMD, tls=Speaks.ON_TCP)),
        (":443?tls", Address(Kind.TCP, port=443, tls=Speaks.YES)),
        (":80?tls=no", Address(Kind.TCP, port=80, tls=Speaks.NO)),
        ("unix:/s?proxy&tls", Address(Kind.UNIX, path="/s", proxy=True, tls=Speaks.YES)),
    ],
)
def test_an_address_and_back(text: str, address: Address) -> None:
    assert parse(text) == address
    assert parse(address.text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "HOST:PORT, :PORT, "),
        ("localhost", "HOST:PORT, :PORT, "),
        ("8000", r"\(:8000 is port 8000 of every address\)"),
        ("localhost:65536", "HOST:PORT"),
        ("localhost:-1", "HOST:PORT"),
        ("localhost:http", "HOST:PORT"),
        ("::1:8000", "HOST:PORT"),
        ("a b:80", "HOST:PORT"),
        ("http://localhost:80", "HOST:PORT"),
        ("unix:", "a Unix socket is unix:/path"),
        ("unix:@", "a Unix socket is unix:/path"),
        ("unix:/run/", "a Unix socket is unix:/path"),
        ("fd:", "fd:N"),
        ("fd:-1", "fd:N"),
        ("fd:stdin", "fd:N"),
        ("systemd:a:b", "systemd:NAME"),
        (":80?", "'' is no property of a TCP address; there are v6only, proxy, tls$"),
        (":80?tls=tcp", "tls stands alone, or is tls=no"),
        (":80?ssl", "'ssl' is no property of a TCP address"),
        (":80?mode=660", "'mode' is no property of a TCP address"),
        ("unix:/s?v6only", "'v6only' is no property of a Unix socket; there are mode, owner, group, proxy, tls$"),
        ("fd:3?owner=me", "'owner' is no property of a descriptor"),
        (":80?proxy&proxy", "proxy is said twice"),
        (":80?proxy=maybe", "proxy stands alone, or is proxy=no"),
        (":80?proxy=", "proxy stands alone"),
        ("unix:/s?mode=rw", "mode=660"),
        ("unix:/s?mode=4755", "mode=660"),
        ("unix:/s?owner=", "owner=www-data"),
        ("127.0.0.1:80?v6only", "v6only is of IPv6 addresses"),
        (":80?v6only", "v6only is of IPv6 addresses"),
        ("unix:@s?mode=600", "a Unix socket without a file has no mode, owner or group"),
        ("unix:@s?group=me", "a Unix socket without a file has no mode, owner or group"),
    ],
)
def test_what_is_no_address_and_what_would_be(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(text)


def test_a_setting_names_its_origin_and_the_value() -> None:
    with pytest.raises(ConfigError, match=r"^option --bind: 'nowhere' is not an address: HOST:PORT"):
        checked({"bind": ("nowhere",)}, {"bind": "option --bind"}, {})
    with pytest.raises(ConfigError, match=r"^option --bind: .* look at 'fd:x'$"):
        checked({"bind": (":80", "fd:x")}, {"bind": "option --bind"}, {})


@pytest.mark.parametrize(
    ("text", "server", "url"),
    [
        ("127.0.0.1:80", ("127.0.0.1", "80"), "http://127.0.0.1:80"),
        ("[::1]:80", ("::1", "80"), "http://[::1]:80"),
        (":80", ("", "80"), "http://0.0.0.0:80"),
        ("unix:/s?mode=600", ("localhost", "80"), "unix:/s"),
    ],
)
def test_what_is_shown_of_it(text: str, server: tuple[str, str], url: str) -> None:
    assert (parse(text).server, parse(text).url) == (server, url)
