import contextlib
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from spawning.errors import ConfigError
from spawning.net.listeners import bind, url
from spawning.settings import Settings


@contextlib.contextmanager
def bound(host: str, port: int = 0) -> Iterator[list[socket.socket]]:
    listeners = bind(Settings(host=host, port=port), {})
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]")])
def test_an_address_is_bound_and_the_url_has_the_real_port(host: str, shown: str) -> None:
    with bound(host) as listeners:
        (listener,) = listeners
        port = listener.getsockname()[1]
        assert port != 0
        assert url(host, listeners) == f"http://{shown}:{port}"


def test_all_addresses_of_a_name_have_the_same_port() -> None:
    with bound("localhost") as listeners:
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        families = {item[0] for item in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
        assert {listener.family for listener in listeners} <= families


def test_the_backlog_is_what_the_option_says() -> None:
    (listener,) = bind(Settings(backlog=7, port=0), {})
    with listener:
        # tcpi_sacked of a listening socket is the longest queue of connections to be accepted
        (longest,) = struct.unpack_from("I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)
        assert longest == 7


def accept(listener: socket.socket) -> socket.socket:
    """Accept the next connection, within 10 s."""
    ready, _, _ = select.select([listener], [], [], 10)
    assert ready
    return listener.accept()[0]


def test_the_sockets_are_as_workers_expect_them() -> None:
    with bound("127.0.0.1") as (listener,):
        assert not listener.getblocking()
        assert not listener.get_inheritable()
        with socket.create_connection(listener.getsockname()) as client:
            client.send(b"GET")
            with accept(listener) as accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_client_is_accepted_with_its_first_bytes_before_one_that_sends_nothing() -> None:
    with bound("127.0.0.1") as (listener,):
        address = listener.getsockname()
        with socket.create_connection(address) as silent, socket.create_connection(address) as client:
            client.send(b"GET")
            for each in (client, silent):
                with accept(listener) as accepted:
                    assert accepted.getpeername() == each.getsockname()


def test_the_wildcard_address_of_ipv6_serves_ipv4_too() -> None:
    with bound("::") as (listener,), socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        pass


def test_a_port_that_is_taken_is_named_with_its_origin() -> None:
    with bound("127.0.0.1") as (listener,):
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"^option --port: port {port} of 127\.0\.0\.1 is taken"):
            bind(Settings(port=port), {"port": "option --port"})


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])  # RFC 5737 and RFC 3849: addresses of nobody
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"^setting host: '{host}' is not an address of this machine$"):
        bind(Settings(host=host, port=0), {})


@pytest.mark.parametrize("host", ["no such host", "a" * 64])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^setting host: cannot find the address of "):
        bind(Settings(host=host, port=0), {})
