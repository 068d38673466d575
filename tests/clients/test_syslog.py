"""Access lines at real syslog daemons: rsyslog, by its socket and by UDP, and socat, which shows what it gets."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.programs import program
from integration.client import fetch
from integration.ports import free_port
from integration.server import DEADLINE, Server, until

RSYSLOG = """
global(workDirectory="{directory}")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
input(type="imuxsock" Socket="{directory}/log" UseSysTimeStamp="off")
input(type="imudp" address="127.0.0.1" port="{port}")
template(name="shown" type="string" string="%syslogfacility-text%.%syslogseverity-text% %programname%:%msg%\\n")
action(type="omfile" file="{directory}/lines" template="shown")
"""
LINE = "127.0.0.1 - - ["


@contextlib.contextmanager
def running(*command: str | Path) -> Iterator[None]:
    process = subprocess.Popen([program(str(command[0])), *map(str, command[1:])], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)


def rsyslog(directory: Path, port: int) -> contextlib.AbstractContextManager[None]:
    rules = directory / "rsyslog.conf"
    rules.write_text(RSYSLOG.format(directory=directory, port=port))
    return running("rsyslogd", "-n", "-f", rules, "-i", directory / "rsyslog.pid")


def asked(server: Server, lines: Path, path: str) -> str:
    """Ask until there is a line: nobody says when a daemon listens by UDP."""

    def found() -> str:
        fetch(server.port, path)
        text = lines.read_text() if lines.exists() else ""
        return next((line for line in text.splitlines() if f"GET {path} " in line), "")

    return until(found, f"a line for {path}")


@pytest.mark.parametrize("by", ["socket", "UDP"])
def test_rsyslog_reads_facility_level_tag_and_line(tmp_path: Path, by: str) -> None:
    port, path = free_port(socket.SOCK_DGRAM), tmp_path / "log"
    with rsyslog(tmp_path, port):
        until(path.exists, "its socket")
        to = path if by == "socket" else f"127.0.0.1:{port}"
        with Server("basics.application", "-s", "2", "-l", f"syslog:{to},facility=local3,tag=shop") as server:
            line = asked(server, tmp_path / "lines", "/hello?a=%22")
            # In a datagram of syslog(3), what stands behind the tag begins with a space.
            assert line.replace("shop: ", "shop:").startswith(f"local3.info shop:{LINE}")
            assert '] "GET /hello?a=%22 HTTP/1.1" 200 14 "-" "-" ' in line


def test_rsyslog_may_go_and_come_again(tmp_path: Path) -> None:
    port, path, lines = free_port(socket.SOCK_DGRAM), tmp_path / "log", tmp_path / "lines"
    with contextlib.ExitStack() as first:
        first.enter_context(rsyslog(tmp_path, port))
        until(path.exists, "its socket")
        with Server("basics.application", "-s", "1", "-l", f"syslog:{path}") as server:
            asked(server, lines, "/hello?first")
            first.close()
            for _ in range(5):
                assert fetch(server.port, "/hello?lost").status == 200
            assert server.reload()
            with rsyslog(tmp_path, port):
                asked(server, lines, "/hello?again")
                server.wait_for_log(r" WARNING log lines lost count=\d+ log=access$")
            assert server.stop() == 0


@pytest.mark.parametrize("kind", ["UNIX-RECVFROM:{path},fork", "UDP4-RECVFROM:{port},bind=127.0.0.1,fork"])
def test_socat_gets_a_datagram_a_line(tmp_path: Path, kind: str) -> None:
    port, path, lines = free_port(socket.SOCK_DGRAM), tmp_path / "log", tmp_path / "lines"
    with running("socat", "-u", kind.format(path=path, port=port), f"OPEN:{lines},creat,append"):
        to = f"127.0.0.1:{port}"
        if kind.startswith("UNIX"):
            until(path.exists, "its socket")
            to = str(path)
        with Server("basics.application", "-s", "1", "-l", f"syslog:{to}") as server:
            assert LINE in asked(server, lines, "/hello")
            assert lines.read_text().startswith("<134>")
