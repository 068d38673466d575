"""Applications that answer as few do, or as none should: what their clients get, and what the log says."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.client import Client, Closed, fetch, request
from integration.server import Server

MODES = {
    "inline": ("-t", "1"),
    "threads": ("-t", "4"),
    "timed": ("-t", "4", "--request-timeout", "60"),
}


@pytest.fixture(scope="module", params=MODES)
def unusual(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One worker, in each of the ways to run a request."""
    with Server("unusual.application", "-s", "1", "-l", "/dev/null", *MODES[request.param]) as server:
        yield server


# Blocks --------------------------------------------------------------------------------------------------------------

HOWS = ["list", "tuple", "iterator", "generator", "write"]
WRONG = {
    "bytearray": "bytearray", "memoryview": "memoryview", "str": "str", "NoneType": "NoneType", "int": "int",
    "empty-str": "str", "zero": "int", "empty-list": "list", "empty-bytearray": "bytearray",
}  # fmt: skip


@pytest.mark.parametrize("how", HOWS)
def test_what_is_a_subclass_of_bytes_is_sent(unusual: Server, how: str) -> None:
    for behind, content in (("", b"blob"), ("&behind=1", b"usual blob")):
        assert fetch(unusual.port, f"/blocks?how={how}&what=blob{behind}").body == content


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("how", HOWS)
def test_what_is_no_bytes_is_500_or_cut_and_its_type_is_named(unusual: Server, how: str, what: str) -> None:
    line = rf" ERROR a block of the response is {WRONG[what]}, not bytes \(PEP 3333\).* method=GET path='/blocks'$"
    mark = unusual.mark()
    assert fetch(unusual.port, f"/blocks?how={how}&what={what}").status == 500
    unusual.wait_for_log(line, after=mark)
    mark = unusual.mark()
    target = f"/blocks?how={how}&what={what}&behind=1"
    if how in ("generator", "write"):  # the head has gone out
        with Client(unusual.port) as client, pytest.raises(Closed) as cut:
            client.get(target)
        assert cut.value.args == (b"",)
    else:
        assert fetch(unusual.port, target).status == 500
    unusual.wait_for_log(line, after=mark)
    assert "Traceback" not in "".join(unusual.err.since(mark))


# Fields --------------------------------------------------------------------------------------------------------------


def test_hop_by_hop_fields_are_dropped_and_the_first_time_named() -> None:
    with Server("unusual.application", "-s", "1", "-t", "2", "-l", "/dev/null") as server:
        with Client(server.port) as client:
            for target in ("/events", "/events", "/fields?Transfer-Encoding=chunked", "/fields?upgrade=x"):
                response = client.get(target)
                assert (response.status, response.closes) == (200, False)
                assert (response["connection"], response["keep-alive"], response["upgrade"]) == ("", "", "")
        said = "hop-by-hop fields of the application are dropped, and further ones without a word"
        server.wait_for_log(rf" WARNING {said} fields=Connection,Keep-Alive method=GET path='/events'$")
        server.stop()
        assert server.log().count("hop-by-hop") == 1


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive,%20close"])
def test_an_application_may_close_the_connection(unusual: Server, value: str) -> None:
    for version in ("HTTP/1.1", "HTTP/1.0"):
        with Client(unusual.port) as client:
            client.send(request(f"/fields?Connection={value}", "Connection: keep-alive", version=version))
            response = client.read()
            assert (response.status, response.body, response["connection"]) == (200, b"content", "close")
            assert client.read_eof() == b""


def test_what_a_proxy_demands_passes(unusual: Server) -> None:
    assert fetch(unusual.port, "/fields?Proxy-Authenticate=Basic")["proxy-authenticate"] == "Basic"


@pytest.mark.parametrize("value", ["a%07b", "a%1Bb", "a%7Fb", "a%0Ab", f"{'x' * 4096}%1B"])
def test_a_control_character_is_refused_and_its_field_named(unusual: Server, value: str) -> None:
    mark = unusual.mark()
    assert fetch(unusual.port, f"/fields?X-Long={'y' * 4096}&X-Bad={value}").status == 500
    unusual.wait_for_log(
        r"^  ValueError: value of response header X-Bad has a control character: '[ax]+\\[xn]", after=mark
    )


# Lengths -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["one", "list", "tuple", "iterator", "file", "none", "nothing"])
def test_a_wrong_length_that_is_known_before_the_head_is_500(unusual: Server, how: str, tmp_path: Path) -> None:
    found = 0 if how in ("none", "nothing") else 5
    for length in (4, 6):
        if length < found and how == "file":
            continue  # as much of it as announced, which is how ranges are sent
        mark = unusual.mark()
        what = "longer" if length < found else "shorter"
        target = f"/length?how={how}&length={length}&path={tmp_path / 'file'}"
        response = fetch(unusual.port, target)
        assert (response.status, response.closes) == (500, True)
        counts = f"announced={length} found={found}"
        line = rf" ERROR response {what} than its Content-Length {counts} method=GET path='/length'$"
        unusual.wait_for_log(line, after=mark)
    if found:
        assert fetch(unusual.port, f"/length?how={how}&length=5&path={tmp_path / 'file'}").body == b"12345"


# Responses that are cut ----------------------------------------------------------------------------------------------


def received(client: Client) -> tuple[bytes, bool]:
    """Receive everything; whether it ended with a FIN, and not with a reset."""
    pieces = []
    try:
        while piece := client.sock.recv(1 << 20):
            pieces.append(piece)
    except ConnectionResetError:
        return b"".join(pieces), False
    return b"".join(pieces), True


@pytest.mark.parametrize("blocks", [900, 20_000])
@pytest.mark.parametrize("path", ["/cut", "/cut-length", "/cut-short", "/cut-write"])
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_the_end_of_a_cut_response_is_behind_what_was_sent_where_its_framing_tells(
    unusual: Server, version: str, path: str, blocks: int
) -> None:
    """A little waits for its client, in the kernel and in the server; of much the rest is made while that reads."""
    mark = unusual.mark()
    with Client(unusual.port) as client:
        client.send(request(f"{path}?blocks={blocks}", version=version))
        if blocks == 900:
            unusual.wait_for_log("^failing$", after=mark)
        data, regular = received(client)
    unframed = version == "HTTP/1.0" and path in ("/cut", "/cut-write")
    assert regular is not unframed
    if regular:
        assert data.count(b"x") == blocks * 1000
        assert not data.endswith(b"\r\n0\r\n\r\n")
    unusual.wait_for_log(r" ERROR (application raised|response shorter)", after=mark)
    assert fetch(unusual.port).status == 200


def test_a_request_behind_a_cut_response_is_not_answered(unusual: Server) -> None:
    with Client(unusual.port) as client:
        client.send(request("/cut?blocks=900") + request("/"))
        data, regular = received(client)
    assert regular
    assert data.count(b"HTTP/1.1 ") == 1


# Clients that go -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["iterator", "generator"])
@pytest.mark.parametrize("first", ["", "&first=1"])
@pytest.mark.parametrize("pause", ["0", "0.1", "1"])
def test_an_iterable_of_empty_blocks_is_closed_when_its_client_has_gone(
    unusual: Server, pause: str, first: str, how: str
) -> None:
    mark = unusual.mark()
    with Client(unusual.port) as client:
        client.send(request(f"/quiet?pause={pause}&how={how}{first}"))
        unusual.wait_for_log("^begun$", after=mark)
        if first:
            client.sock.recv(1000)
    unusual.wait_for_log("^closed$", after=mark)
    assert fetch(unusual.port).status == 200
    # What a test before this one made fail may be told as late as now.
    assert not [line for line in unusual.err.since(mark) if "ERROR" in line and "/quiet" in line]


def test_a_client_that_stays_gets_what_comes_behind_empty_blocks(unusual: Server) -> None:
    assert fetch(unusual.port, "/patient").body == b"at last"


@pytest.mark.parametrize("how", ["from", "none", "exc_info", "swallowed"])
def test_what_an_application_makes_of_a_client_that_has_gone_is_no_error(unusual: Server, how: str) -> None:
    mark = unusual.mark()
    with Client(unusual.port) as client:
        client.send(request(f"/wrapped?how={how}"))
        assert client.sock.recv(1000)
    raised = "LookupError" if how == "from" else "OSError"
    if how in ("exc_info", "swallowed"):  # raised again as it was
        fetch(unusual.port)
    else:
        unusual.wait_for_log(rf" INFO client gone, .* error={raised} method=GET path='/wrapped'$", after=mark)
    assert fetch(unusual.port).status == 200
    lines = "\n".join(unusual.err.since(mark))
    assert "ERROR" not in lines
    assert "Traceback" not in lines


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "begin"),
    [("/proc/self/status", b"Name:"), ("/proc/version", b"Linux"), ("/sys/kernel/cpu_byteorder", b"")],
)
def test_a_file_that_is_made_when_it_is_read_is_read(unusual: Server, path: str, begin: bytes) -> None:
    response = fetch(unusual.port, f"/file?path={path}")
    assert response.status == 200
    assert response.body
    assert response.body.startswith(begin)


def test_half_a_connection_is_enough_for_an_answer(unusual: Server) -> None:
    """A client that sends no more looks like one that has gone; it is not taken for one before it has been patient."""
    with Client(unusual.port) as client:
        client.send(request("/fields?X-A=b", "Connection: close"))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read().body == b"content"
