"""Where control sockets are, what they are called, and the lines that go over them."""

from pathlib import Path

import pytest

from spawning.ipc.control import decode, directories, encode, make_private, name_for


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("127.0.0.1", 8080, "127.0.0.1:8080.sock"),
        ("localhost", 80, "localhost:80.sock"),
        ("::1", 8080, "[::1]:8080.sock"),
        ("[::1]", 8080, "[::1]:8080.sock"),
        ("../x", 1, ".._x:1.sock"),
    ],
)
def test_the_name_is_the_address(host: str, port: int, name: str) -> None:
    assert name_for(host, port) == name
    assert name_for(host, port, "-17") == name.replace(".sock", "-17.sock")


def test_the_user_s_runtime_directory_comes_first() -> None:
    assert directories({"XDG_RUNTIME_DIR": "/run/user/7"})[:2] == [Path("/run/user/7/spawning"), Path("/run/spawning")]
    assert directories({"XDG_RUNTIME_DIR": ""})[0] == Path("/run/spawning")


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
