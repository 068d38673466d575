"""Where control sockets are, what they are called, and the lines that go over them."""

import os
import socket
import stat
from pathlib import Path

import pytest

from spawning.ipc.control import (
    decode,
    directories,
    doubt_of_directory,
    doubt_of_server,
    doubt_of_socket,
    encode,
    make_private,
    name_for,
    peer,
)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080.sock"),
        ("[::1]:8080", "[::1]:8080.sock"),
        ("unix:/run/site.sock", "unix:_run_site.sock.sock"),
        ("unix:" + "/x" * 40, "unix:51f3d9824e1e81e0.sock"),
    ],
)
def test_the_name_is_the_address(address: str, name: str) -> None:
    assert name_for(address) == name
    assert name_for(address, "-17") == name.removesuffix(".sock") + "-17.sock"


def test_the_user_s_runtime_directory_comes_first() -> None:
    assert directories({"XDG_RUNTIME_DIR": "/run/user/7"})[:2] == [Path("/run/user/7/spawning"), Path("/run/spawning")]
    assert directories({"XDG_RUNTIME_DIR": ""})[0] == Path("/run/spawning")
    for_a_unit = {"RUNTIME_DIRECTORY": "/run/site:/run/spawning/site", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert directories(for_a_unit)[0] == Path("/run/spawning/site")
    assert directories({"RUNTIME_DIRECTORY": "/run/site"})[0] == Path("/run/spawning")


def test_a_variable_names_the_one_directory(tmp_path: Path) -> None:
    environ = {"SPAWNING_CONTROL_DIRECTORY": str(tmp_path), "XDG_RUNTIME_DIR": "/run/user/7"}
    assert directories(environ) == [tmp_path]


def test_without_a_directory_for_temporary_files_the_others_are_left() -> None:
    def nothing_writable() -> str:
        raise FileNotFoundError

    assert directories({}, nothing_writable) == [Path("/run/spawning")]


def found(mode: int, owner: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, owner, owner, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "user", "doubt"),
    [
        (stat.S_IFDIR | 0o700, 1000, 1000, ""),
        (stat.S_IFDIR | 0o755, 1000, 1000, ""),
        (stat.S_IFDIR | 0o700, 0, 1000, ""),
        (stat.S_IFDIR | 0o700, 0, 0, ""),
        (stat.S_IFDIR | 0o700, 1000, 0, "belongs to user 1000"),
        (stat.S_IFDIR | 0o700, 1001, 1000, "belongs to user 1001"),
        (stat.S_IFDIR | 0o770, 1000, 1000, "may be written by others"),
        (stat.S_IFDIR | 0o702, 0, 1000, "may be written by others"),
        (stat.S_IFDIR | 0o1777, 0, 0, "may be written by others"),
        (stat.S_IFLNK | 0o777, 0, 0, "is not a directory"),
        (stat.S_IFREG | 0o600, 0, 0, "is not a directory"),
    ],
)
def test_which_directories_are_doubted(mode: int, owner: int, user: int, doubt: str) -> None:
    assert doubt_of_directory(found(mode, owner), user) == doubt


@pytest.mark.parametrize(
    ("mode", "owner", "user", "doubt"),
    [
        (stat.S_IFSOCK | 0o600, 1000, 1000, ""),
        (stat.S_IFSOCK | 0o666, 1000, 1000, ""),  # more may ask, but nobody else answers
        (stat.S_IFSOCK | 0o600, 0, 1000, ""),
        (stat.S_IFSOCK | 0o600, 1001, 1000, "belongs to user 1001"),
        (stat.S_IFSOCK | 0o600, 1001, 0, "belongs to user 1001"),
        (stat.S_IFLNK | 0o777, 0, 0, "is not a socket"),
        (stat.S_IFIFO | 0o600, 0, 0, "is not a socket"),
    ],
)
def test_which_sockets_are_doubted(mode: int, owner: int, user: int, doubt: str) -> None:
    assert doubt_of_socket(found(mode, owner), user) == doubt


@pytest.mark.parametrize(
    ("server", "mode", "owner", "user", "believed"),
    [
        (0, 0o1777, 1001, 1000, True),
        (1000, 0o1777, 0, 1000, True),
        (1001, 0o700, 1001, 1000, True),
        (1001, 0o755, 1001, 0, True),
        (1001, 0o777, 1001, 0, False),
        (1001, 0o1777, 0, 0, False),
        (1001, 0o700, 1000, 1000, False),
        (1001, 0o700, 0, 0, False),
    ],
)
def test_whose_answers_are_believed(server: int, mode: int, owner: int, user: int, believed: bool) -> None:
    doubt = doubt_of_server(server, found(stat.S_IFDIR | mode, owner), user)
    assert doubt == ("" if believed else f"the server there runs as user {server}, whom nobody has asked to answer")


def test_who_is_at_the_other_end() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer(one) == os.geteuid()


def test_a_directory_is_ours_alone_or_not_used(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    make_private(ours)
    make_private(ours)
    assert ours.stat().st_mode & 0o777 == 0o700
    ours.chmod(0o777)
    with pytest.raises(PermissionError, match="not a directory of ours alone"):
        make_private(ours)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="not a directory of ours alone"):
        make_private(link)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "file")


def test_lines_are_json_objects() -> None:
    line = encode({"command": "reload", "wait": True})
    assert line.endswith(b"}\n")
    assert decode(line) == {"command": "reload", "wait": True}
    for bad in (b"", b"x", b"[]\n", b"\xff"):
        with pytest.raises(ValueError, match=r"Expecting|JSON object|decode"):
            decode(bad)
