"""TCP listeners, and those that somebody else has made."""

import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawning.address import Address, Kind, parse
from spawning.errors import ConfigError
from spawning.net.listeners import adopt, bind_tcp
from spawning.net.listeners import bound as really
from spawning.net.wanted import Wanted


def bind(text: str | Address, backlog: int = 100) -> list[socket.socket]:
    address = parse(text) if isinstance(text, str) else text
    return bind_tcp(Wanted(address, "option --host", "option --port"), backlog)


@contextlib.contextmanager
def bound(text: str) -> Iterator[list[socket.socket]]:
    listeners = bind(text)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_is_bound_and_its_name_has_the_real_port(host: str) -> None:
    with bound(f"{host}:0?proxy") as (listener,):
        port = listener.getsockname()[1]
        assert port != 0
        assert really(listener, parse(f"{host}:0?proxy")).text == f"{host}:{port}?proxy"


def test_all_addresses_of_a_name_have_the_same_port() -> None:
    with bound("localhost:0") as listeners:
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        families = {item[0] for item in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
        assert {listener.family for listener in listeners} <= families


def test_the_backlog_is_what_the_option_says() -> None:
    (listener,) = bind("127.0.0.1:0", 7)
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
    with bound("127.0.0.1:0") as (listener,):
        assert not listener.getblocking()
        assert not listener.get_inheritable()
        with socket.create_connection(listener.getsockname()) as client:
            client.send(b"GET")
            with accept(listener) as accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_client_is_accepted_with_its_first_bytes_before_one_that_sends_nothing() -> None:
    with bound("127.0.0.1:0") as (listener,):
        address = listener.getsockname()
        with socket.create_connection(address) as silent, socket.create_connection(address) as client:
            client.send(b"GET")
            for each in (client, silent):
                with accept(listener) as accepted:
                    assert accepted.getpeername() == each.getsockname()


@pytest.mark.parametrize("text", ["[::]:0", ":0"])
def test_every_address_is_served_in_both_families_by_a_socket_each(text: str) -> None:
    with bound(text) as listeners:
        assert {listener.family for listener in listeners} == {socket.AF_INET, socket.AF_INET6}
        (port,) = {listener.getsockname()[1] for listener in listeners}
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port)) as client:
                client.send(b"GET")
                (listener,) = (each for each in listeners if each.family == client.family)
                with accept(listener) as accepted:
                    assert accepted.getpeername()[0] == host  # not ::ffff:127.0.0.1


def test_ipv6_alone() -> None:
    """Asked where nothing but what listens on every address of IPv4 is: another test may have the same port."""
    with bound("[::]:0?v6only") as (listener,), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.6", listener.getsockname()[1]))


def test_a_port_that_is_taken_is_named_with_its_origin_and_its_holder() -> None:
    with bound("127.0.0.1:0") as (listener,):
        port = listener.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"^option --port: port {port} of 127\.0\.0\.1 is taken by another listen"
        ):
            bind(f"127.0.0.1:{port}")
        code = f"import socket; s = socket.create_server(('127.0.0.2', {port})); print(flush=True); input()"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline()
            holders = "|".join(str(pid) for pid in (other.pid, os.getpid()))
            with pytest.raises(
                ConfigError, match=rf"is taken by (another listener of this server|\S+ \(pid ({holders})\))"
            ):
                bind(f"127.0.0.2:{port}")
            other.communicate(b"\n")


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])  # RFC 5737 and RFC 3849: addresses of nobody
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"^option --host: '{host}' is not an address of this machine$"):
        bind(Address(Kind.TCP, host=host))


@pytest.mark.parametrize("host", ["no such host", "a" * 64])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^option --host: cannot find the address of "):
        bind(Address(Kind.TCP, host=host))


def test_a_descriptor_is_adopted_if_it_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        adopted = adopt(os.dup(listener.fileno()), "fd:7")
        with adopted:
            assert not adopted.getblocking()
            assert not adopted.get_inheritable()
            assert really(adopted, parse("fd:7?proxy")).text == f"127.0.0.1:{listener.getsockname()[1]}?proxy"


@pytest.mark.parametrize("name", ["", "/s"])
def test_a_unix_socket_is_adopted_by_its_own_name(name: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}{name}" if name else "")
        listener.listen()
        with adopt(os.dup(listener.fileno()), "fd:7") as adopted:
            text = really(adopted, parse("fd:7")).text
            assert text == f"unix:{tmp_path}{name}" if name else text.startswith("unix:@")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ((socket.AF_INET, socket.SOCK_DGRAM), "is not a stream socket"),
        ((socket.AF_INET, socket.SOCK_STREAM), "does not listen"),
        ((socket.AF_NETLINK, socket.SOCK_RAW), "is a socket of family AF_NETLINK"),
    ],
)
def test_a_descriptor_that_cannot_be_served_stays_open(kind: tuple[int, int], reason: str) -> None:
    with socket.socket(*kind) as sock:
        with pytest.raises(ConfigError, match=rf"^fd:7 {reason}.*; mend it$"):
            adopt(sock.fileno(), "fd:7", "mend it")
        assert sock.fileno() >= 0


def test_what_is_no_socket() -> None:
    with open(os.devnull) as file, pytest.raises(ConfigError, match=r"^fd:7 is no socket: "):
        adopt(file.fileno(), "fd:7")
