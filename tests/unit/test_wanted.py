"""Which addresses are listened on, from what is said where."""

import pytest

from spawning.cli import parse
from spawning.errors import ConfigError
from spawning.net.wanted import Wanted, wanted
from spawning.settings import Settings


def found(*arguments: str, inherited: bool = False, **environ: str) -> list[Wanted]:
    asked = parse(["a:b", *arguments], environ, "/")
    assert asked is not None
    configuration = asked.sources.read_all()
    return wanted(configuration.settings, configuration.sources, inherited=inherited)


@pytest.mark.parametrize(
    ("arguments", "environ", "addresses"),
    [
        ("", "", ["127.0.0.1:8080"]),
        ("-p 80", "", ["127.0.0.1:80"]),
        ("-i ::1", "", ["[::1]:8080"]),
        ("-i [::1]", "", ["[::1]:8080"]),
        ("-b :1", "", [":1"]),
        ("-b :1 -b unix:/s", "", [":1", "unix:/s"]),
        ("-b :1 -p 80", "", ["127.0.0.1:80", ":1"]),
        ("-b :1 -i ::1", "", ["[::1]:8080", ":1"]),
        ("", "5000", [":5000"]),
        ("-p 80", "5000", ["127.0.0.1:80"]),
        ("-i localhost", "5000", ["localhost:5000"]),
        ("-b :1", "5000", [":1"]),
        ("-b :1 -i localhost", "5000", ["localhost:5000", ":1"]),
        ("-b 0.0.0.0:1 -b [::]:1", "", ["0.0.0.0:1", "[::]:1?v6only"]),
        ("-b 0.0.0.0:1 -b [::]:2", "", ["0.0.0.0:1", "[::]:2"]),
    ],
)
def test_who_says_what(arguments: str, environ: str, addresses: list[str]) -> None:
    assert [each.address.text for each in found(*arguments.split(), PORT=environ)] == addresses


@pytest.mark.parametrize(
    ("arguments", "addresses"),
    [("", ["systemd:"]), ("-p 80", ["systemd:"]), ("-b systemd:web", ["systemd:web"]), ("-b :1", [":1"])],
)
def test_sockets_of_the_service_manager_take_the_place_of_host_and_port(arguments: str, addresses: list[str]) -> None:
    assert [each.address.text for each in found(*arguments.split(), inherited=True)] == addresses


@pytest.mark.parametrize("twice", ["-b :1 -b :1", "-b unix:/s -b unix:/s?mode=600", "-p 1 -b 127.0.0.1:1"])
def test_a_place_has_one_listener(twice: str) -> None:
    with pytest.raises(ConfigError, match=r"^option --bind: .* is there twice"):
        found(*twice.split())


def test_what_is_said_of_the_proxy_protocol_needs_a_listener_that_has_it() -> None:
    with pytest.raises(ConfigError, match=r"^option --proxy-allow-ips: no listener has \?proxy"):
        found("-b", ":1", "--proxy-allow-ips", "10.0.0.0/8")
    assert found("-b", ":1", "-b", ":2?proxy", "--proxy-allow-ips", "10.0.0.0/8")[1].address.proxy


def test_each_has_its_origin() -> None:
    pair, bound = found("-b", ":1", "-p", "80")
    assert (pair.origin, pair.port_origin) == ("setting host", "option --port")
    assert (bound.origin, bound.port_origin) == ("option --bind", "option --bind")


def test_the_variable_may_be_named_as_the_origin_of_the_host_too() -> None:
    variable = "environment variable PORT"
    (pair,) = wanted(Settings(host="0.0.0.0", port=5000), {"host": variable, "port": variable}, inherited=False)
    assert pair.address.text == ":5000"
    (bound,) = wanted(Settings(bind=(":1",), host="0.0.0.0"), {"host": variable, "port": variable}, inherited=False)
    assert bound.address.text == ":1"


@pytest.mark.parametrize(
    ("arguments", "addresses"),
    [
        ("", ["127.0.0.1:8080?tls"]),
        ("-b :1 -b :2", [":1?tls", ":2?tls"]),
        ("-b :1 -b :2?tls", [":1", ":2?tls"]),
        ("-b :1?tls=no -b :2", [":1?tls=no", ":2?tls"]),
        ("-b :1 -b unix:/s", [":1?tls", "unix:/s"]),
        ("-b :1 -b unix:/s?tls", [":1", "unix:/s?tls"]),
        ("-b fd:3 -b systemd:", ["fd:3?tls=tcp", "systemd:?tls=tcp"]),
        ("-b fd:3?tls -b systemd:", ["fd:3?tls", "systemd:"]),
    ],
)
def test_with_a_certificate_every_tcp_listener_speaks_tls_unless_one_says_so_itself(
    arguments: str, addresses: list[str]
) -> None:
    assert [each.address.text for each in found("--certfile", "x", *arguments.split())] == addresses


@pytest.mark.parametrize("address", [":1?tls", "unix:/s?tls", "fd:3?tls=tcp"])
def test_tls_needs_a_certificate(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^option --bind: \S+tls\S* needs a certificate; give it with --certfile$"):
        found("-b", ":2", "-b", address)
