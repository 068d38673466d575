"""Several listening addresses: what an environ says of its own, also when the connection has moved to a new worker."""

import json
import sys

import pytest

from integration.client import Client
from integration.server import Server

ADDRESSES = ("127.0.0.1", "127.0.0.2")

# A name with two addresses, as localhost is on machines with IPv6: what the resolver says is the test's.
_COMMAND = """\
import socket, sys
find = socket.getaddrinfo
def getaddrinfo(host, *arguments, **more):
    hosts = {addresses!r} if host == "localhost" else [host]
    return [found for each in hosts for found in find(each, *arguments, **more)]
socket.getaddrinfo = getaddrinfo
from spawning.cli import main
main()
"""


def serve(*options: str) -> Server:
    code = _COMMAND.format(addresses=ADDRESSES)
    return Server(command=[sys.executable, "-c", code, "--port", "0", "--host", "localhost", *options])


def names(client: Client) -> tuple[str, str, int]:
    environ = json.loads(client.get("/environ").body)
    return environ["SERVER_NAME"], environ["SERVER_PORT"], environ["pid"]


@pytest.mark.parametrize("kept", [True, False])
def test_server_name_and_port_are_those_of_the_listener_of_each_connection(kept: bool) -> None:
    with serve("basics.application", "-s", "1", "-l", "/dev/null") as server:
        port = str(server.port)
        clients = {host: Client(server.port, host) for host in ADDRESSES}
        old = {names(client) for client in clients.values()}
        assert {seen[:2] for seen in old} == {(host, port) for host in ADDRESSES}
        assert server.reload()
        for host, before in clients.items():
            client = before if kept else Client(server.port, host)
            name, its_port, pid = names(client)
            assert (name, its_port) == (host, port)
            assert pid not in {seen[2] for seen in old}  # served by another worker
            client.close()
            before.close()
