"""Whom ``spawnctl`` asks and believes, and what never reaches the terminal of the person who asks."""

import contextlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.client import Client, request
from integration.control import spawnctl
from integration.gate import Gate
from integration.server import DEADLINE, RUNTIME, Server
from integration.sites import version, waits_at, write
from spawning.ipc.control import name_for

NOBODY = 65534
ROOT = os.geteuid() == 0
SERVES = {"ok": {"generation": 99, "seconds": 0.1}}


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@contextlib.contextmanager
def user(number: int) -> Iterator[None]:
    """Be a user, as far as that is possible: for root."""
    if ROOT:
        os.seteuid(number)
    try:
        yield
    finally:
        if ROOT:
            os.seteuid(0)


@contextlib.contextmanager
def answering(path: Path, answer: Any, owner: int) -> Iterator[list[bytes]]:
    """Be a server of user `owner` that answers each question alike; gives the questions."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        with user(owner):
            listener.bind(str(path))
            listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):  # the end
                while True:
                    sock, _ = listener.accept()
                    with sock, sock.makefile("rb") as reader:
                        if question := reader.readline():
                            asked.append(question)
                            sock.sendall(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)
            path.unlink()


def directory_of(owner: int, path: Path, mode: int) -> Path:
    path.mkdir()
    if ROOT:
        os.chown(path, owner, owner)
    path.chmod(mode)
    return path


# (owner and mode of the directory, who answers there; what is said of it)
FALSE = [(os.geteuid(), 0o777, NOBODY if ROOT else os.geteuid(), "{directory} may be written by others")]
if ROOT:  # other users can only be had by root
    FALSE += [
        (NOBODY, 0o700, NOBODY, "{directory} belongs to user 65534"),
        (NOBODY, 0o777, 0, "{directory} belongs to user 65534"),
    ]


@pytest.mark.parametrize(("owner", "mode", "answers", "skipped"), FALSE)
def test_what_is_in_a_directory_of_somebody_else_is_not_asked(
    place: Path, owner: int, mode: int, answers: int, skipped: str
) -> None:
    directory = directory_of(owner, place / "control", mode)
    env = {"SPAWNING_CONTROL_DIRECTORY": str(directory)}
    with answering(directory / name_for("127.0.0.1:8080"), SERVES, answers) as asked:
        for arguments in (["reload", "--wait"], ["-a", "127.0.0.1:8080", "reload", "--wait"], ["status"]):
            done = spawnctl(*arguments, env=env)
            assert (done.status, done.out) == (2, "")
            assert done.err.startswith("spawnctl: no server is running")
            assert done.err.endswith(f"; skipped: {skipped.format(directory=directory)}\n")
        assert asked == []


def test_a_server_is_found_beside_a_false_one(place: Path) -> None:
    """Both have the name of the address; the directory for temporary files is everybody's."""
    write(place, "1")
    runtime, temporary = directory_of(0, place / "run", 0o700), directory_of(os.geteuid(), place / "tmp", 0o1777)
    env = {"XDG_RUNTIME_DIR": str(runtime), "TMPDIR": str(temporary), "SPAWNING_CONTROL_DIRECTORY": ""}
    with Server("site_app:application", "-s", "1", "-l", "/dev/null", cwd=place, env=env) as server:
        false = directory_of(NOBODY, temporary / f"spawning-{os.geteuid()}", 0o777)
        with answering(false / name_for(f"127.0.0.1:{server.port}"), SERVES, NOBODY) as asked:
            done = spawnctl("-a", f"127.0.0.1:{server.port}", "reload", "--wait", env=env)
            assert (done.status, done.out.split(",")[0]) == (0, "generation 2 serves")
            assert asked == []


def test_root_finds_the_server_to_whose_user_root_has_given_a_directory(place: Path) -> None:
    """As systemd does it, with ``RuntimeDirectory=spawning/site``; for others than root it is their own server."""
    control = directory_of(0, place / "control", 0o711)
    given, open_to_all = (directory_of(NOBODY, control / name, mode) for name, mode in [("a", 0o755), ("b", 0o777)])
    env = {"SPAWNING_CONTROL_DIRECTORY": str(control)}
    with answering(given / name_for("127.0.0.1:8080"), SERVES, NOBODY):
        for arguments in ([], ["-a", "127.0.0.1:8080"]):
            done = spawnctl(*arguments, "reload", "--wait", env=env)
            assert done.out == ("generation 99 serves, after 0.100 s\n" if ROOT else "")
    with answering(open_to_all / name_for("127.0.0.1:8080"), SERVES, NOBODY) as asked:
        done = spawnctl("reload", "--wait", env=env)
        assert done.status == 2
        assert not ROOT or done.err.endswith(f"; skipped: {open_to_all} may be written by others\n")
        assert asked == []


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_socket_that_is_named_is_believed_if_it_can_only_be_the_owner_s(place: Path, mode: int) -> None:
    everybody_s = directory_of(0, place / "everybody", mode) / "ctl.sock"
    with answering(everybody_s, SERVES, NOBODY) as asked:
        done = spawnctl("-S", everybody_s, "reload", "--wait")
        if ROOT:
            why = f"the server there runs as user {NOBODY}, whom nobody has asked to answer"
            assert (done.status, done.err) == (2, f"spawnctl: {everybody_s} is not believed: {why}\n")
            assert asked == []
        else:  # it is ours
            assert done.status == 0
    theirs = directory_of(NOBODY, place / "theirs", 0o700) / "ctl.sock"
    with answering(theirs, SERVES, NOBODY):
        assert spawnctl("-S", theirs, "reload", "--wait").out == "generation 99 serves, after 0.100 s\n"


# Terminals -----------------------------------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\r\x9b2J\u202e\x7f\x08\ud800"
SHOWN = r"\x1b]0;owned\x07\r\x9b2J\u202e\x7f\x08\ud800"
WORKER = {
    "name": EVIL, "pid": EVIL, "state": EVIL, "age": 1, "requests": EVIL, "errors": EVIL, "executing": EVIL,
    "queued": EVIL, "connections": EVIL,
}  # fmt: skip
EXECUTING = {"thread": EVIL, "seconds": 1.0, "address": EVIL, "method": EVIL, "path": f"/{EVIL}\nworker 1.1"}
STATUS = {
    "version": EVIL, "python": EVIL, "pid": EVIL, "address": EVIL, "uptime": 1, "service": EVIL,
    "generations": [
        {"number": EVIL, "state": EVIL, "trigger": EVIL, "age": 1, "fork_server": EVIL, "workers": [WORKER]},
    ],
    "last_refusal": {"generation": EVIL, "trigger": EVIL, "at": 1.0, "reason": EVIL, "traceback": f"{EVIL}\n{EVIL}"},
}  # fmt: skip
STACKS = {"workers": [{"name": EVIL, "requests": [], "stacks": {EVIL: f"{EVIL}\n{EVIL}"}}]}


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["status"], {"ok": STATUS}),
        (["status", "--json"], {"ok": STATUS}),
        (["requests"], {"ok": {"workers": [{"name": EVIL, "requests": [EXECUTING]}]}}),
        (["requests", "--json"], {"ok": {"workers": [{"name": EVIL, "requests": [EXECUTING]}]}}),
        (["requests"], {"ok": {"workers": [{"name": EVIL, "requests": None}]}}),
        (["stacks", "1.1"], {"ok": STACKS}),
        (["scale", "1"], {"ok": {"workers": EVIL}}),
        (["reload"], {"ok": {"generation": EVIL}}),
        (["reload"], {"error": f"{EVIL}\n{EVIL}", "details": f"{EVIL}\n{EVIL}\n"}),
        (["reload", "--wait"], {"progress": EVIL}),
        (["status"], EVIL),
        (["status"], {EVIL: EVIL}),
    ],
)
def test_nothing_in_an_answer_is_obeyed_by_a_terminal(tmp_path: Path, arguments: list[str], answer: Any) -> None:
    with answering(tmp_path / "ctl.sock", answer, os.geteuid()):
        done = spawnctl("-S", tmp_path / "ctl.sock", *arguments)
    printed = done.out + done.err
    assert [each for each in printed if not each.isprintable() and each != "\n"] == []
    if "ok" in answer and "--json" not in arguments:
        assert SHOWN in printed
        assert "\nworker 1.1" not in printed
    if "error" in answer:
        assert (
            done.err
            == f"{SHOWN}\n{SHOWN}\nspawnctl: {SHOWN.replace(chr(92) + 'r', ' ')} {SHOWN.replace(chr(92) + 'r', ' ')}\n"
        )


@pytest.mark.parametrize("answer", [{"ok": {}}, {"ok": []}, {"ok": EVIL}, {"ok": None}, {}, [], {"error": None}])
@pytest.mark.parametrize("command", ["status", "requests", "stacks 1.1", "reload", "scale 1", "upgrade --wait"])
def test_an_answer_that_lacks_what_is_to_be_shown_is_one_line(tmp_path: Path, command: str, answer: Any) -> None:
    with answering(tmp_path / "ctl.sock", answer, os.geteuid()):
        done = spawnctl("-S", tmp_path / "ctl.sock", *command.split())
    assert done.status in (1, 2)
    assert done.out == ""
    assert done.err.startswith("spawnctl: ")
    assert done.err.count("\n") == 1


def test_a_client_s_path_forges_no_row(gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "ctl.sock"
    entering = "\n".join(f"    {line}" for line in waits_at(gate).splitlines())
    (tmp_path / "waiting.py").write_text(
        f"def application(environ, start_response):\n{entering}\n    start_response('200 OK', [])\n    return []\n"
    )
    arguments = ("waiting:application", "-s", "1", "-t", "2", "--control-socket", str(path))
    with Server(*arguments, cwd=tmp_path) as server, Client(server.port) as client:
        client.send(request("/%1b]0;x%07%0aworker%201.1%20%c2%9b2J"))
        gate.wait_entered()
        shown = spawnctl("-S", path, "requests").out
        assert len(shown.splitlines()) == 2
        assert shown.isprintable() or [each for each in shown if not each.isprintable()] == ["\n", "\n"]
        gate.open()
        assert client.read().status == 200


def test_the_variable_is_for_both(tmp_path: Path) -> None:
    write(tmp_path, "1")
    env = {"SPAWNING_CONTROL_DIRECTORY": str(tmp_path / "control")}
    with Server("site_app:application", "-s", "1", "-l", "/dev/null", cwd=tmp_path, env=env) as server:
        assert (tmp_path / "control" / name_for(f"127.0.0.1:{server.port}")).is_socket()
        assert json.loads(spawnctl("status", "--json", env=env).out)["pid"] == server.pid
        assert version(server.port) == "1"
        assert not list(Path(RUNTIME.name).rglob(f"*:{server.port}.sock"))
