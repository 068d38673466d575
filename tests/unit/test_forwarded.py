"""Forwarded fields: who the client is, what counts of what it could have written itself, and what is refused."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawning.errors import ProtocolError
from spawning.wsgi.forwarded import Origin, Trust, resolve

TRUST = Trust(["10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48"])
KEYS = {
    "forwarded": "HTTP_FORWARDED",
    "for": "HTTP_X_FORWARDED_FOR",
    "proto": "HTTP_X_FORWARDED_PROTO",
    "host": "HTTP_X_FORWARDED_HOST",
    "port": "HTTP_X_FORWARDED_PORT",
    "prefix": "HTTP_X_FORWARDED_PREFIX",
}


def said(values: dict[str, str]) -> Origin:
    return resolve({KEYS[name]: value for name, value in values.items()}, TRUST)


# Whom to trust -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["10.1.2.3", "192.0.2.1", "::ffff:10.0.0.1", "2001:db8:1::7", "2001:db8:1::7%eth0"])
def test_addresses_and_networks_are_trusted(address: str) -> None:
    assert TRUST.peer(address)


@pytest.mark.parametrize("address", ["11.0.0.1", "192.0.2.2", "::ffff:11.0.0.1", "2001:db8:2::7", "", "no address"])
def test_others_are_not(address: str) -> None:
    assert not TRUST.peer(address)


@pytest.mark.parametrize(
    ("entries", "unix", "tcp"),
    [([], False, False), (["unix"], True, False), (["*"], True, True), (["127.0.0.0/8"], False, True)],
)
def test_a_peer_on_a_unix_socket_has_no_address_and_a_name_of_its_own(
    entries: list[str], unix: bool, tcp: bool
) -> None:
    trust = Trust(entries)
    assert (trust.peer(""), trust.peer("127.0.0.1")) == (unix, tcp)
    assert not Trust(["unix"]).hop(ip_address("127.0.0.1"))


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::1", ""])
def test_every_peer_can_be_trusted_also_one_without_an_address(address: str) -> None:
    assert Trust(["*"]).peer(address)


def test_to_trust_every_peer_is_not_to_believe_what_clients_write_behind_it() -> None:
    fields = {KEYS["for"]: "203.0.113.66, 198.51.100.7"}
    assert resolve(fields, Trust(["*"])).address == "198.51.100.7"
    assert resolve(fields, Trust(["*", "198.51.100.0/24"])).address == "203.0.113.66"


# Who the client is ---------------------------------------------------------------------------------------------------

CHAINS = [
    ("203.0.113.9", "203.0.113.9"),
    ("203.0.113.66, 203.0.113.9", "203.0.113.9"),
    ("203.0.113.66, 203.0.113.9, 10.1.1.1, 192.0.2.1", "203.0.113.9"),
    ("10.1.1.1", "10.1.1.1"),
    ("10.1.1.1, 192.0.2.1", "10.1.1.1"),
    ("nonsense, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
    ("unknown", ""),
    ("203.0.113.66, unknown, 10.1.1.1", ""),
    ("_hidden.One-2", ""),
]

UNIX = ["unix:", "UNIX:", "203.0.113.66, unix:", "unix:, 10.1.1.1", "203.0.113.66, unix:, 10.1.1.1"]


@pytest.mark.parametrize(("hops", "address"), CHAINS)
def test_the_right_most_untrusted_hop_is_the_client(hops: str, address: str) -> None:
    assert said({"for": hops}) == Origin(address=address)
    assert said({"forwarded": ", ".join(f"for={hop}" for hop in hops.split(", "))}) == Origin(address=address)


@pytest.mark.parametrize("hops", UNIX)
def test_a_client_of_nginx_on_a_unix_socket_is_not_known(hops: str) -> None:
    """That is nginx's ``$remote_addr`` then."""
    assert said({"for": hops}) == Origin(address="")
    assert said({"forwarded": ", ".join(f'for="{hop}"' for hop in hops.split(", "))}) == Origin(address="")


@pytest.mark.parametrize(
    ("node", "address", "port"),
    [
        ("203.0.113.9:4711", "203.0.113.9", "4711"),
        ("2001:db8::9", "2001:db8::9", ""),
        ("2001:DB8:0:0::9", "2001:db8::9", ""),
        ("[2001:db8::9]", "2001:db8::9", ""),
        ("[2001:db8::9]:4711", "2001:db8::9", "4711"),
        ("[2001:db8::9]:_obfuscated", "2001:db8::9", ""),
        ("::ffff:203.0.113.9", "203.0.113.9", ""),
        ("UNKNOWN:99", "", "99"),
    ],
)
def test_addresses_may_have_brackets_and_ports(node: str, address: str, port: str) -> None:
    assert said({"for": node}) == Origin(address=address, port=port)
    assert said({"forwarded": f'For="{node}"'}) == Origin(address=address, port=port)


def test_empty_items_are_nothing() -> None:
    assert said({"for": " ,, 203.0.113.9 ,\t"}).address == "203.0.113.9"
    assert said({"forwarded": " ,; , for=203.0.113.9;,"}).address == "203.0.113.9"
    assert said({"for": "", "forwarded": " , ", "proto": "", "host": " ", "port": "", "prefix": ""}) == Origin()


# What was asked for --------------------------------------------------------------------------------------------------


def test_everything_that_can_be_said() -> None:
    fields = {"for": "203.0.113.9", "proto": "HTTPS", "host": "a.example", "port": "8443", "prefix": "/shop/eu/"}
    assert said(fields) == Origin("203.0.113.9", "", "https", "a.example", "8443", "/shop/eu")
    element = 'for="203.0.113.9:1";Proto=https;host="a.example:8443";by=10.0.0.1;secret="a, \\"b\\";c"'
    assert said({"forwarded": element}) == Origin("203.0.113.9", "1", "https", "a.example:8443")


def test_what_belongs_to_another_hop_does_not_count() -> None:
    fields = {"for": "203.0.113.9, 10.0.0.1", "proto": "https, http", "host": "c, a.example, in"}
    assert said(fields) == Origin("203.0.113.9", scheme="https", host="a.example")
    text = "for=203.0.113.66;host=c, for=203.0.113.9;proto=https, for=10.0.0.1;proto=http;host=in"
    assert said({"forwarded": text}) == Origin("203.0.113.9", scheme="https")


def test_a_list_that_the_last_proxy_has_replaced_is_its_word() -> None:
    assert said({"for": "203.0.113.9, 10.0.0.2, 10.0.0.1", "proto": "https"}).scheme == "https"


def test_a_proxy_need_not_name_the_client() -> None:
    assert said({"proto": "https"}) == Origin(scheme="https")
    assert said({"forwarded": "proto=https"}) == Origin(scheme="https")
    assert said({"forwarded": "proto=https, for=10.0.0.1"}) == Origin("10.0.0.1", scheme="https")


def test_a_websocket_begins_as_a_request() -> None:
    assert [said({"proto": scheme}).scheme for scheme in ("ws", "wss")] == ["http", "https"]


# Both kinds ----------------------------------------------------------------------------------------------------------


def test_both_kinds_may_say_the_same() -> None:
    fields = {"forwarded": 'for="203.0.113.9:1";proto=https', "for": "203.0.113.9", "proto": "https", "port": "1443"}
    assert said(fields) == Origin("203.0.113.9", scheme="https", server_port="1443")


def test_forwarded_cannot_say_port_and_prefix() -> None:
    fields = {"forwarded": "for=203.0.113.9", "port": "1443", "prefix": "/p"}
    assert said(fields) == Origin("203.0.113.9", server_port="1443", prefix="/p")


@pytest.mark.parametrize(
    "fields",
    [
        {"forwarded": "for=203.0.113.9", "for": "203.0.113.66"},
        {"forwarded": "for=203.0.113.9;proto=https", "for": "203.0.113.9"},
        {"forwarded": "for=203.0.113.9", "for": "203.0.113.9", "host": "a.example"},
        {"forwarded": "for=unknown", "for": "203.0.113.9"},
        {"forwarded": "for=203.0.113.9", "proto": "https"},
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ProtocolError) as caught:
        said(fields)
    assert (caught.value.status, "contradict" in caught.value.reason) == (400, True)


# Malformed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        *[
            ({"for": node}, "X-Forwarded-For")
            for node in [
                "localhost", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4:", "1.2.3.4:99999", "1.2.3.4:x", "[::1", "::1]",
                "[1.2.3.4]", "[::1]:99999", "unix", "unix:/run/a", "unix:80",
                "[fe80::1%1]", "_", "_a b", ":80", "1.2.3.4 5.6.7.8", '"1.2.3.4"', "::g",
            ]
        ],
        ({"for": "203.0.113.9, x, 10.0.0.1"}, "X-Forwarded-For"),
        *[
            ({"forwarded": text}, "Forwarded")
            for text in [
                "for", "for=", "=1.2.3.4", "for=1.2.3.4:80", "for=[::1]", 'for="', 'for="a', "for=x", 'for="a\x00"',
                "for=1.2.3.4;for=1.2.3.4", "for=1.2.3.4;FOR=1.2.3.4", "for = 1.2.3.4", "for=1.2.3.4 proto=http",
                'for=""', "for=1.2.3.4;proto=ftp", 'for=1.2.3.4;host="a b"', 'for=1.2.3.4;host=":80"', "a b",
                'for="x, for=203.0.113.9', "for=203.0.113.9\x0b",
            ]
        ],
        *[({"proto": text}, "X-Forwarded-Proto") for text in ["ftp", "https:", "https http", "on"]],
        *[({"host": text}, "X-Forwarded-Host") for text in ["a b", "a/b", "a@b", ":80", "[::1", "a:b", "a\u00e9"]],
        *[({"port": text}, "X-Forwarded-Port") for text in ["0", "65536", "-1", "+80", "8 0", "\u00b2", "http"]],
        *[
            ({"prefix": text}, "X-Forwarded-Prefix")
            for text in ["shop", "//evil.example", "/a//b", "/a?b", "/a#b", "/a b", "/%2f", "/\u00e9", "/a\\b", "/a\n"]
        ],
    ],
)  # fmt: skip
def test_what_is_malformed_where_it_counts_is_refused(fields: dict[str, str], name: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        said(fields)
    assert (caught.value.status, caught.value.reason) == (400, f"malformed {name} field")


# Memory --------------------------------------------------------------------------------------------------------------


def test_what_is_remembered_is_what_would_be_found() -> None:
    trust = Trust(["10.0.0.0/8"])
    for _ in range(2):
        for number in range(1500):
            address = f"203.0.{number % 256}.{number // 256}"
            assert trust.origin({KEYS["for"]: address}) == Origin(address)
            assert trust.origin({KEYS["for"]: "203.0.113.9", KEYS["host"]: f"h{number}"}).host == f"h{number}"
            assert trust.peer(f"10.0.{number % 256}.{number // 256}")
            assert not trust.peer(f"11.0.{number % 256}.{number // 256}")


def test_what_is_refused_once_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(ProtocolError):
            TRUST.origin({KEYS["for"]: "nobody"})


# Anything ------------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "for=",
        "proto=https",
        "host=",
        '"',
        "\\",
        ",",
        ";",
        "=",
        " ",
        "[::1]",
        ":80",
        "1.2.3.4",
        "10.0.0.1",
        "unknown",
        "_a",
    ]
)
VALUE = st.text(st.characters(max_codepoint=255)) | st.lists(PIECES).map("".join)


@given(st.dictionaries(st.sampled_from(sorted(KEYS.values())), VALUE))
def test_nothing_but_a_refusal_comes_out_of_anything(fields: dict[str, str]) -> None:
    environ: dict[str, Any] = {"wsgi.url_scheme": "http", "SCRIPT_NAME": "", "HTTP_HOST": "a:1", "REMOTE_ADDR": "peer"}
    try:
        origin = resolve(fields, TRUST)
    except ProtocolError:
        return
    origin.put_into(environ)
    assert environ["wsgi.url_scheme"] in ("http", "https")
    assert environ["REMOTE_ADDR"] == "peer" or not set(environ["REMOTE_ADDR"]) - set("0123456789abcdef.:")
    assert environ["SCRIPT_NAME"][:1] in ("", "/")
    assert not environ["SCRIPT_NAME"].endswith("/")


# Into the environ ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host", "port"),
    [
        (Origin(), "in:8000", "8000"),
        (Origin(address="203.0.113.9"), "in:8000", "8000"),
        (Origin(scheme="https"), "a.example", "443"),
        (Origin(scheme="http"), "a.example", "80"),
        (Origin(scheme="https"), "a.example:8443", "8443"),
        (Origin(scheme="https"), "[2001:db8::1]", "443"),
        (Origin(scheme="https", server_port="9443"), "a.example:8443", "9443"),
        (Origin(host="b.example"), "a.example:8443", "80"),
        (Origin(host="b.example:81", scheme="https"), "a.example:8443", "81"),
    ],
)
def test_the_port_is_that_of_the_host_or_of_the_scheme(origin: Origin, host: str, port: str) -> None:
    environ: dict[str, Any] = {"wsgi.url_scheme": "http", "SERVER_PORT": "8000", "SCRIPT_NAME": "", "HTTP_HOST": host}
    origin.put_into(environ)
    assert (environ["SERVER_PORT"], environ["HTTP_HOST"]) == (port, origin.host or host)


def test_the_prefix_comes_before_what_this_server_takes_off_itself() -> None:
    environ: dict[str, Any] = {"wsgi.url_scheme": "http", "SCRIPT_NAME": "/app"}
    Origin(prefix="/outer").put_into(environ)
    assert environ["SCRIPT_NAME"] == "/outer/app"
