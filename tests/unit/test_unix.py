"""Unix sockets: their files, who may connect, and what is there already."""

import contextlib
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spawning.address import Address, Kind, parse
from spawning.errors import ConfigError
from spawning.net.holders import holder_of_path
from spawning.net.unix import LONGEST, bind_unix, file_of, own, remove


@pytest.fixture
def address(tmp_path: Path) -> Address:
    return Address(Kind.UNIX, path=str(tmp_path / "s"))


@contextlib.contextmanager
def listening(address: Address) -> Iterator[socket.socket]:
    with bind_unix(address, 10, "option --bind") as listener:
        yield listener


def refusal(address: Address) -> str:
    with pytest.raises(ConfigError) as caught:
        bind_unix(address, 10, "option --bind")
    return str(caught.value)


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def mode(address: Address) -> int:
    return stat.S_IMODE(os.lstat(address.path).st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize("wanted", [0o660, 0o600, 0o666])
def test_its_file_has_the_mode_that_was_asked_for_whatever_the_umask(address: Address, umask: int, wanted: int) -> None:
    before = os.umask(umask)
    try:
        with listening(replace(address, mode=wanted)) as listener:
            assert mode(address) == wanted
            assert not listener.getblocking()
            connect(address.path)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_a_name_without_a_file() -> None:
    address = Address(Kind.UNIX, path=f"@spawning-{os.getpid()}")
    with listening(address):
        connect(f"\0{address.path[1:]}")
        assert refusal(address).startswith(f"option --bind: {address.path} is taken by ")
        assert file_of(address) == (0, 0)
        remove(address, file_of(address))


def test_the_file_of_a_dead_server_is_replaced(address: Address) -> None:
    with listening(address):
        pass
    with listening(address):
        connect(address.path)


def test_a_living_server_is_named(address: Address) -> None:
    with listening(address):
        who = Path("/proc/self/comm").read_text().strip()
        assert holder_of_path(address.path) == f"{who} (pid {os.getpid()})"
        message = refusal(address)
        assert message.startswith(f"option --bind: {address.path} is taken by {who} (pid {os.getpid()}); stop it first")
        connect(address.path)


def test_what_is_no_socket_is_left_alone(address: Address) -> None:
    Path(address.path).write_text("precious")
    assert refusal(address).endswith("exists and is not a socket; remove it, or take another path")
    assert Path(address.path).read_text() == "precious"


def test_the_longest_path(tmp_path: Path) -> None:
    name = "x" * (LONGEST - len(str(tmp_path)) - 1)
    with listening(Address(Kind.UNIX, path=str(tmp_path / name))):
        pass
    long = Address(Kind.UNIX, path=str(tmp_path / f"{name}x"))
    assert refusal(long) == f"option --bind: {long.path} is too long for a Unix socket; {LONGEST} bytes are the most"


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    message = refusal(Address(Kind.UNIX, path=str(tmp_path / "none" / "s")))
    assert message == f"option --bind: there is no directory {tmp_path / 'none'} for a socket; make it first"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_directory_that_this_user_may_not_write_and_a_group_that_is_not_his() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        free = Path(directory, "free")
        free.mkdir()
        free.chmod(0o777)
        os.seteuid(65534)
        try:
            message = refusal(Address(Kind.UNIX, path=f"{directory}/s"))
            given_away = refusal(Address(Kind.UNIX, path=f"{free}/s", group="12345"))
        finally:
            os.seteuid(0)
        assert os.listdir(free) == []
    assert message == (
        f"option --bind: cannot make a socket in {directory}: Permission denied; allow this user to write there"
    )
    assert given_away == (
        f"option --bind: this user cannot give {free}/s to that owner or group; be root, or a member of the group"
    )


@pytest.mark.parametrize("what", ["owner", "group"])
def test_who_is_unknown(address: Address, what: str) -> None:
    message = refusal(parse(f"unix:{address.path}?{what}=nobody-of-that-name"))
    kind = "user" if what == "owner" else "group"
    assert message == f"option --bind: {what}=nobody-of-that-name: there is no {kind} of that name"
    assert not os.path.lexists(address.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_its_file_is_given_to_another_user_and_group(address: Address) -> None:
    with listening(replace(address, owner="12345", group="54321")):
        found = os.lstat(address.path)
        assert (found.st_uid, found.st_gid) == (12345, 54321)
        own(replace(address, owner="1", mode=0o600), "option --bind")
        found = os.lstat(address.path)
        assert (found.st_uid, found.st_gid, mode(address)) == (1, 54321, 0o600)


def test_its_own_file_is_removed_and_no_other(address: Address) -> None:
    with listening(address):
        file = file_of(address)
        os.unlink(address.path)
        with listening(address):
            remove(address, file)
            connect(address.path)
            remove(address, file_of(address))
        assert not os.path.lexists(address.path)
        remove(address, file)


def test_of_several_that_want_a_path_at_once_one_gets_it(address: Address) -> None:
    with listening(address):
        pass  # a file that all of them want to replace
    start = threading.Barrier(8)
    got: list[socket.socket] = []
    refused: list[str] = []

    def want() -> None:
        start.wait(30)
        try:
            got.append(bind_unix(address, 10, "option --bind"))
        except ConfigError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with contextlib.ExitStack() as stack:
        for listener in got:
            stack.enter_context(listener)
        assert len(got) == 1
        assert all("is taken by" in each for each in refused)
        connect(address.path)
