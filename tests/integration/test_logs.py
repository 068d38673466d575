"""A log never blocks and never kills: what becomes of its readers, files and streams costs lines, and nothing else."""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from integration.client import Client, request
from integration.gate import Gate
from integration.server import Server, until
from integration.sites import held, version, write
from integration.stalled import Stalled

APP = "site_app:application"
NOISY = "noisy.application"
ACCESS = re.compile(
    r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d (?P<zone>[+-]\d{4})\] "(?P<request>[^"]*)" \d{3} \S+ '
    r'"[^"]*" "-" \d+\.\d{6}'
)
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (?P<zone>[+-]\d{4}) \[\d+\] (INFO|WARNING|ERROR|DEBUG) ")


def redirected(redirections: str, *arguments: str) -> list[str]:
    """Make a command line that has the shell redirect the server's streams."""
    return ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "spawning", "--port", "0", *arguments]


def do(port: int, code: str) -> None:
    """Have ``apps/noisy.py`` run this in a worker."""
    with Client(port) as client:
        assert client.post("/do", code.encode(), "Connection: close").status == 200


def get(port: int, target: str) -> int:
    """Ask on a connection of its own; return the status."""
    with Client(port) as client:
        return client.get(target, "Connection: close").status


def port_of(server: Server) -> int:
    """Find the port of a server whose log says nothing."""

    def listening() -> list[int]:
        found = psutil.Process(server.pid).net_connections("tcp")
        return [each.laddr.port for each in found if each.status == psutil.CONN_LISTEN]

    return until(listening, "a listening socket")[0]


# Readers that stall --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", ["stdout", "stderr", "file", "both"])
def test_a_reader_that_stalls_changes_nothing_else(tmp_path: Path, log: str) -> None:
    """Requests, replacements, reloads and the stop: in this order, with the pipe full."""
    write(tmp_path, "1")
    with Stalled(tmp_path / "pipe") as pipe:
        to_file = ["-l", pipe.path] if log == "file" else []
        streams = {"stdout": f">{pipe.path}", "stderr": f"2>{pipe.path}", "both": f">{pipe.path} 2>&1", "file": ""}[log]
        command = redirected(streams, APP, "-s", "2", "-t", "4", *to_file)
        with Server(command=command, cwd=tmp_path, ready=False) as server:
            port = port_of(server)
            assert version(port) == "1"
            pipe.fill()
            for _ in range(20):
                assert version(port) == "1"
            for worker in server.wait_workers(2):
                os.kill(worker.pid, signal.SIGKILL)
            until(lambda: {each.name for each in server.workers()} == {"1.3", "1.4"}, "the workers replaced")
            assert version(port) == "1"
            write(tmp_path, "2")
            server.signal(signal.SIGHUP)
            until(lambda: {each.generation for each in server.workers()} == {2}, "the new generation alone")
            for _ in range(20):
                assert version(port) == "2"
            assert server.stop() == 0


def test_the_lead_is_taken_away_though_nobody_reads(gate: Gate, tmp_path: Path) -> None:
    """A worker's main thread is its watchdog: if it waited for a reader, fast requests would wait for slow ones."""
    with Stalled(tmp_path / "pipe") as pipe:
        with Server("basics.application", "-s", "1", "-t", "4", "-l", pipe.path) as server:
            pipe.fill()
            for _ in range(20):
                assert get(server.port, "/hello") == 200
            with held(gate, server.port) as client:
                assert get(server.port, "/hello") == 200
                gate.open()
                assert client.read().status == 200
            assert server.stop() == 0
        assert re.search(r" WARNING log lines lost count=\d+ log=access$", server.log(), re.MULTILINE)


def test_workers_end_with_the_controller_though_nobody_reads(tmp_path: Path) -> None:
    with Stalled(tmp_path / "pipe") as pipe:
        command = redirected(f">{pipe.path} 2>&1", NOISY, "-s", "2")
        with Server(command=command, ready=False, check_leftovers=False) as server:
            port = port_of(server)
            assert get(port, "/") == 200
            pipe.fill()
            assert get(port, "/") == 200
            server.signal(signal.SIGKILL)
            server.wait_gone()


LONG = 40_000  # characters; so a hundred lines are what a buffer holds


def test_lost_access_lines_are_counted_and_reported_when_it_goes_again(tmp_path: Path) -> None:
    with Stalled(tmp_path / "pipe") as pipe, Server(NOISY, "-s", "1", "-l", pipe.path) as server:
        pipe.fill()
        with Client(server.port) as client:
            for _ in range(300):
                assert client.get("/", f"Referer: {'x' * LONG}").status == 200
        pipe.read_while(lambda: "log lines lost" not in server.log())
        asked = 300

        def is_written() -> bool:
            """Ask once more: as long as the buffer is full, such lines are lost, too."""
            nonlocal asked
            asked += 1
            assert get(server.port, "/last") == 200
            return any('"GET /last ' in line for line in pipe.lines())

        pipe.read_while(lambda: not is_written())
        assert server.stop() == 0
        written = pipe.read_rest()
        assert [line for line in written if not ACCESS.fullmatch(line)] == []
        counts = re.findall(r" log lines lost count=(\d+) log=access$", server.log(), re.MULTILINE)
        assert len(written) + sum(map(int, counts)) == asked


def test_lost_error_lines_are_counted_and_reported_when_it_goes_again(tmp_path: Path) -> None:
    with Stalled(tmp_path / "pipe") as pipe:
        command = redirected(f"2>{pipe.path}", NOISY, "-s", "1", "-l", "/dev/null")
        with Server(command=command, ready=False) as server:
            pipe.read_until(" ready ")
            port = port_of(server)
            pipe.fill()
            do(port, f"for _ in range(300): environ['wsgi.errors'].write('y' * {LONG} + '\\n')")
            lines = pipe.read_until(" log=error")
            do(port, "environ['wsgi.errors'].write('last\\n')")
            lines = pipe.read_until("last")
            counts = [int(match[1]) for line in lines if (match := re.search(r" lost count=(\d+) log=error$", line))]
            assert sum(line.startswith("yyy") for line in lines) + sum(counts) == 300
            assert server.stop() == 0


def test_lines_of_several_workers_do_not_mix_on_a_pipe(tmp_path: Path) -> None:
    """With the pipe full each has much to write at once when it is read again, and more than goes in at once."""
    with Stalled(tmp_path / "pipe") as pipe:
        command = redirected(f">{pipe.path}", NOISY, "-s", "4", "-t", "2")
        with Server(command=command) as server:
            pipe.fill()
            for number in range(400):
                assert get(server.port, f"/{number:03}" + "z" * 700) == 200
            lines = pipe.read_until('"GET /', 400)
            assert [line for line in lines if not ACCESS.fullmatch(line)] == []
            assert len(lines) == 400


@pytest.mark.parametrize("streams", [">{0}", ">{0} 2>&1"], ids=["stdout", "both"])
def test_lines_that_are_longer_than_a_pipe_takes_at_once_do_not_mix_either(tmp_path: Path, streams: str) -> None:
    """Each worker waits in the middle of one, the short lines of others behind it, and in one worker both logs."""
    long = "x" * 9000
    with Stalled(tmp_path / "pipe") as pipe:
        command = redirected(streams.format(pipe.path), NOISY, "-s", "4", "-t", "2")
        with Server(command=command, ready=False) as server:
            port = port_of(server)
            assert get(port, "/") == 200
            pipe.fill()
            for number in range(200):
                with Client(port) as client:
                    headers = ("Connection: close", f"Referer: {long}") if number % 2 else ("Connection: close",)
                    code = f"environ['wsgi.errors'].write('said ' + {'y' * 9000 * (number % 2)!r} + '\\n')"
                    assert client.post("/do", code.encode(), *headers).status == 200
            lines = pipe.read_until('"POST /do', 200)
            assert server.stop() == 0
        whole = [line for line in lines if (match := ACCESS.fullmatch(line)) and match["request"].startswith("POST")]
        assert len(whole) == 200
        assert sum(long in line for line in whole) == 100
        if "2>&1" in streams:
            assert {line for line in lines if "said " in line} == {"said ", f"said {'y' * 9000}"}


# Files that cannot be written, or opened -----------------------------------------------------------------------------


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    with Server(NOISY, "-s", "1", "-l", "/dev/full") as server:
        for _ in range(3):
            assert get(server.port, "/") == 200
        assert server.reload()
        server.wait_for_log(r" WARNING log lines lost count=3 log=access$")
        assert get(server.port, "/") == 200


def test_a_full_disk_under_the_error_log_stops_nobody() -> None:
    with Server(command=redirected("2>/dev/full", NOISY, "-s", "1"), ready=False) as server:
        port = port_of(server)
        assert get(port, "/fail") == 500
        assert get(port, "/") == 200
        assert server.stop() == 0


def test_a_disk_that_is_full_costs_lines_until_there_is_room(tmp_path: Path) -> None:
    """A file system of 64 KiB, where all that is left without a filler is some lines."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=64k none {disk} && head -c 45000 /dev/zero >{disk}/filler"
    spawn = [sys.executable, "-m", "spawning", "--port", "0", NOISY, "-s", "2", "-l", str(disk / "access.log")]
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", *spawn]
    with Server(command=command) as server:
        inside = Path(f"/proc/{server.pid}/root{disk}")
        for number in range(20):
            assert get(server.port, f"/{number}?{'x' * 4000}") == 200
        until(lambda: os.statvfs(inside).f_bavail == 0, "a full disk")
        assert server.reload()
        assert get(server.port, "/full") == 200
        (inside / "filler").unlink()
        assert get(server.port, "/room") == 200
        until(lambda: "/room" in (inside / "access.log").read_text(), "the log goes on")
        assert server.stop() == 0
    lost = sum(int(each[1]) for each in re.finditer(r" log lines lost count=(\d+) log=access$", server.log(), re.M))
    assert 0 < lost <= 21


def test_a_fifo_without_a_reader_does_not_hold_up_the_start(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with Server(NOISY, "-s", "2", "-l", str(fifo)) as server:
        reason = "it is a FIFO that nobody reads"
        server.wait_for_log(rf' ERROR log cannot be opened log=access file={fifo} reason="{reason}" meanwhile=nothing$')
        assert get(server.port, "/early") == 200
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        server.wait_for_log(rf" INFO log opened log=access file={fifo}$")

        def heard() -> bool:
            """Ask, and look for a line: a worker may have been told of the descriptor, or not yet."""
            assert get(server.port, "/late") == 200
            with contextlib.suppress(BlockingIOError):
                return b'"GET /late ' in os.read(reader, 1 << 16)
            return False

        until(heard, "a line")
        os.close(reader)
        assert server.log().count("log cannot be opened") == 1
        assert get(server.port, "/nobody-reads") == 200  # not any more


def gone(log: Path) -> None:
    log.rename(log.with_name("rotated"))
    log.parent.rename(log.parent.with_name("moved"))


def directory(log: Path) -> None:
    log.rename(log.with_name("rotated"))
    log.mkdir()


def fifo(log: Path) -> None:
    log.rename(log.with_name("rotated"))
    os.mkfifo(log)


def link_to_itself(log: Path) -> None:
    log.rename(log.with_name("rotated"))
    log.symlink_to(log)


@pytest.mark.parametrize("spoil", [gone, directory, fifo, link_to_itself])
@pytest.mark.parametrize("preload", [[], ["--no-preload"]], ids=["preload", "no-preload"])
def test_a_log_that_cannot_be_opened_any_more(
    tmp_path: Path, spoil: Callable[[Path], None], preload: list[str]
) -> None:
    """The rotation costs no worker, no replacement and no reload; what is written goes to the file before."""
    write(tmp_path, "1")
    logs = tmp_path / "logs"
    logs.mkdir()
    log = logs / "access.log"
    with Server(APP, "-s", "2", "-l", str(log), *preload, cwd=tmp_path) as server:
        assert version(server.port) == "1"
        until(log.read_text, "the first line")
        spoil(log)
        server.signal(signal.SIGUSR1)
        server.wait_for_log(
            rf' ERROR log cannot be opened log=access file={log} reason=.* meanwhile="the file before"$'
        )
        server.wait_for_log(r" INFO log not reopened log=error reason=\"it is stderr\" signal=SIGUSR1$")
        for worker in server.workers():
            os.kill(worker.pid, signal.SIGKILL)
        until(lambda: {each.name for each in server.workers()} == {"1.3", "1.4"}, "the workers replaced")
        write(tmp_path, "2")
        assert server.reload()
        assert version(server.port) == "2"
        before = next(path for path in tmp_path.rglob("rotated"))
        until(lambda: before.read_text().count("\n") == 2, "lines in the file before")
        if log.parent.exists():
            log.rmdir() if log.is_dir() else log.unlink()
        else:
            logs.mkdir()
        server.wait_for_log(rf" INFO log opened log=access file={log}$")
        # A worker is given the file a moment after that line.
        until(lambda: version(server.port) == "2" and log.read_text(), "lines in the new file")
        assert before.read_text().count("\n") >= 2  # more, when a worker was asked before it was given the new one
        assert server.log().count("log cannot be opened") == 1


def test_a_log_that_became_a_fifo_whose_reader_stalls(tmp_path: Path) -> None:
    write(tmp_path, "1")
    log = tmp_path / "access.log"
    with Server(APP, "-s", "1", "-l", str(log), cwd=tmp_path) as server:
        log.rename(tmp_path / "rotated")
        with Stalled(log) as pipe:
            server.signal(signal.SIGUSR1)
            server.wait_for_log(rf" INFO log reopened log=access file={log} signal=SIGUSR1$")
            pipe.fill()
            assert version(server.port) == "1"
            write(tmp_path, "2")
            assert server.reload()
            assert version(server.port) == "2"
            log.unlink()
            server.signal(signal.SIGUSR1)  # out of the pipe again, without anybody having read it
            until(log.exists, "a file")
            until(lambda: version(server.port) == "2" and log.read_text(), "a line in the file")
            assert server.stop() == 0


def test_usr1_says_that_stdout_is_not_reopened() -> None:
    with Server(NOISY, "-s", "1") as server:
        server.signal(signal.SIGUSR1)
        server.wait_for_log(r" INFO log not reopened log=access reason=\"it is stdout\" signal=SIGUSR1$")
        server.wait_for_log(r" INFO log not reopened log=error reason=\"it is stderr\" signal=SIGUSR1$")
        assert get(server.port, "/") == 200
        server.out.find('"GET / ', 30)


def test_a_log_that_cannot_be_opened_at_the_start_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "access.log"
    with Server(NOISY, "-l", str(path), ready=False) as server:
        assert server.wait() == 2
        assert server.log() == f"spawn: option --access-log-file: cannot write {path}: No such file or directory"


@pytest.mark.parametrize("preload", [[], ["--no-preload"]], ids=["preload", "no-preload"])
def test_a_relative_path_is_that_of_the_start(tmp_path: Path, preload: list[str]) -> None:
    """Whatever the application makes of its directory, and wherever the link that was entered leads later."""
    elsewhere = tmp_path / "elsewhere"
    for name in ("one/logs", "two/logs", "elsewhere/logs"):
        (tmp_path / name).mkdir(parents=True)
    for number in ("one", "two"):
        write(tmp_path / number, number, before=f"import os\nos.chdir({str(elsewhere)!r})")
    current, log = tmp_path / "current", tmp_path / "one/logs/access.log"
    current.symlink_to("one")
    with Server(APP, "-s", "1", "-l", "logs/access.log", *preload, cwd=current, env={"PWD": str(current)}) as server:
        assert version(server.port) == "one"
        current.unlink()
        current.symlink_to("two")
        assert server.reload()
        assert version(server.port) == "two"
        until(lambda: log.read_text().count("\n") == 2, "both lines")
        log.rename(tmp_path / "rotated")
        server.signal(signal.SIGUSR1)
        until(log.exists, "a new log")
        until(lambda: version(server.port) == "two" and log.read_text(), "a line in the new log")
        upgraded = server.mark()
        server.signal(signal.SIGUSR2)
        server.wait_for_log(" reload finished ", after=upgraded)
        log.unlink()
        server.signal(signal.SIGUSR1)
        until(log.exists, "a new log, after the upgrade")
    assert list(tmp_path.rglob("access.log")) == [log]


def test_an_upgrade_keeps_the_log_that_is_open(tmp_path: Path) -> None:
    write(tmp_path, "1")
    (tmp_path / "logs").mkdir()
    with Server(APP, "-s", "1", "-l", str(tmp_path / "logs" / "a.log"), cwd=tmp_path) as server:
        (tmp_path / "logs").rename(tmp_path / "moved")
        server.signal(signal.SIGUSR2)
        server.wait_for_log(" reload finished ")
        assert version(server.port) == "1"
        until((tmp_path / "moved" / "a.log").read_text, "a line")
        assert "log cannot be opened" not in server.log()


# Descriptors and streams ---------------------------------------------------------------------------------------------


def standard(pid: int) -> list[str]:
    """Return what the descriptors 0 to 2 of a process are."""
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_start_with_closed_descriptors(closed: str) -> None:
    with Server(command=redirected(closed, NOISY, "-s", "1"), ready=False) as server:
        port = port_of(server)
        do(port, "print('to nobody', flush=True); print('to nobody', file=sys.stderr); os.write(2, b'to nobody')")
        assert get(port, "/fail") == 500
        for process in server.processes():
            assert not [kind for kind in standard(process.pid) if kind.startswith("socket:")]
        assert server.stop() == 0


AT_IMPORT = {
    "stdout is None": "sys.stdout = None",
    "stdout is a StringIO": "sys.stdout = io.StringIO()",
    "stdout is closed": "sys.stdout.close()",
    "stdout is no stream": "sys.stdout = object()",
    "stdout is stderr": "sys.stdout = sys.stderr",
    "descriptor 1 is closed": "os.close(1)",
    "stderr is None": "sys.stderr = None",
    "stderr is a StringIO": "sys.stderr = io.StringIO()",
    "stderr is closed": "sys.stderr.close()",
    "stderr is no stream": "sys.stderr = object()",
    "descriptor 2 is closed": "os.close(2)",
    "all are closed": "[os.close(fd) for fd in range(3)]",
    "descriptor 1 is a file": "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)",
}


# Where a worker imports, its streams are looked at in the same way: one case of each kind shows that.
IN_WORKERS = ("stdout is None", "stdout is closed", "stderr is closed", "all are closed")


@pytest.mark.parametrize(
    ("what", "preload"), [*((what, []) for what in AT_IMPORT), *((what, ["--no-preload"]) for what in IN_WORKERS)]
)
def test_whatever_an_application_does_to_its_streams_the_logs_stay_where_they_are(
    what: str, preload: list[str]
) -> None:
    with Server(NOISY, "-s", "1", "-t", "2", *preload, env={"AT_IMPORT": AT_IMPORT[what]}) as server:
        with Client(server.port) as client:
            assert client.get("/access").text == "Hello, world!\n"
            assert client.get("/fail/early").status == 500
        do(server.port, "for fd in (1, 2): os.write(fd, b'written by the view\\n')")
        do(server.port, "environ['wsgi.errors'].write('through wsgi.errors\\n')")
        server.out.find(r'"GET /access HTTP/1\.1" 200 ', 30)
        server.wait_for_log(r"^  LookupError: nothing at /fail/early$")
        server.wait_for_log(r"^through wsgi\.errors$")
        for process in [*server.workers(), *server.fork_servers()]:
            assert not [kind for kind in standard(process.pid) if kind.startswith(("socket:", "anon_inode:"))]
        assert server.reload()
        assert get(server.port, "/after") == 200
        assert "not understood" not in server.log()
        assert server.stop() == 0


def opened(pid: int) -> dict[int, str]:
    """Return what the descriptors of a process are, as far as they stay what they are meanwhile."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_what_is_printed_reaches_no_client_though_a_view_closes_its_descriptors(
    tmp_path: Path, closed: tuple[int, ...]
) -> None:
    """The next connection, body and file get numbers of their own, at once and when nobody has looked for a while."""
    shout = f"for fd in {closed}:\n  try: os.write(fd, b'not for clients')\n  except OSError: pass\n"
    large = b"x" * 3_000_000
    with Server(NOISY, "-s", "1", "-t", "2", "-l", str(tmp_path / "access.log")) as server:
        (worker,) = server.workers()
        for _ in range(3):
            do(server.port, f"[os.close(fd) for fd in {closed}]")
            with Client(server.port) as client, Client(server.port) as upload:
                assert client.get("/").text == "Hello, world!\n"
                head = f"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: {len(large) + 3}\r\n\r\n".encode()
                upload.send(head + large[:-1000])
                do(server.port, shout)
                assert client.get("/").text == "Hello, world!\n"
                upload.send(large[-1000:] + b"= 0")
                assert upload.read().status == 200
                assert not any(opened(worker.pid).get(fd, "").startswith("socket:") for fd in closed)
        do(server.port, f"[os.close(fd) for fd in {closed}]")
        until(lambda: [opened(worker.pid).get(fd) for fd in closed] == ["/dev/null"] * len(closed), "all on /dev/null")
        assert server.workers() == [worker]
        assert server.reload()
        assert get(server.port, "/") == 200


def test_what_a_view_prints_is_there_at_once(tmp_path: Path) -> None:
    """A worker that is killed has no time to write what it has in a buffer."""
    with Server(NOISY, "-s", "1") as server:
        do(server.port, "print('printed by a view')")
        (worker,) = server.workers()
        os.kill(worker.pid, signal.SIGKILL)
        server.out.find("^printed by a view$", 30)


LAST_WORDS = {
    "print": "print('last words')",
    "print to stderr": "print('last words', file=sys.stderr)",
    "a flush of wsgi.errors": "print('last words', file=environ['wsgi.errors'], flush=True)",
    "a handler of logging": (
        "logging.StreamHandler(environ['wsgi.errors']).emit(logging.makeLogRecord({'msg': 'last words'}))"
    ),
}


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os.abort()", "os._exit(3)"])
@pytest.mark.parametrize("way", LAST_WORDS)
def test_the_last_words_of_a_view_that_ends_its_worker_are_there(way: str, end: str) -> None:
    body = f"{LAST_WORDS[way]}\n{end}".encode()
    with Server(NOISY, "-s", "1") as server, Client(server.port) as client:
        client.send(request("/do", f"Content-Length: {len(body)}", method="POST") + body)
        server.wait_for_log(" worker died worker=1.1 ")
        (server.out if way == "print" else server.err).find("^last words$", 30)


def test_a_child_that_a_view_forks_writes_by_itself() -> None:
    code = (
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    environ['wsgi.errors'].write('said by the child\\n')\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    with Server(NOISY, "-s", "1") as server:
        do(server.port, "environ['wsgi.errors'].write('said before\\n')\n" + code)
        server.wait_for_log(r"^said by the child$")
        assert server.stop() == 0
        assert server.log().count("said before") == 1


# What lines say ------------------------------------------------------------------------------------------------------


def test_what_an_exception_says_forges_no_line() -> None:
    with Server(NOISY, "-s", "1") as server:
        forged = "2026-01-01%2000:00:00.000%20+0000%20[1]%20INFO%20ready"
        assert get(server.port, f"/fail/%0A{forged}%1B[2J%0D{forged}") == 500
        server.wait_for_log(r"^  LookupError: nothing at /fail/$")
        server.wait_for_log(r"^  2026-01-01 .* ready\\x1b\[2J\\r2026-")
        assert server.stop() == 0
        assert [line for line in server.err.since() if not line.isprintable() or line.startswith("2026-01-01")] == []


ZONES = {"set at import": 'os.environ["TZ"] = "JST-9"; time.tzset()', "untouched": ""}


@pytest.mark.parametrize("what", ZONES)
def test_all_lines_of_all_processes_have_the_zone_of_the_server(what: str) -> None:
    with Server(NOISY, "-s", "1", env={"TZ": "<+0330>-3:30", "AT_IMPORT": ZONES[what]}) as server:
        assert get(server.port, "/fail") == 500
        do(server.port, 'os.environ["TZ"] = "NST3:30"; time.tzset()')
        assert get(server.port, "/fail") == 500
        assert server.reload()
        assert get(server.port, "/fail") == 500
        assert server.stop() == 0
        zones = [match["zone"] for line in server.err.since() if (match := RECORD.match(line))]
        zones += [match["zone"] for line in server.out.since() if (match := ACCESS.match(line))]
        assert set(zones) == {"+0330"}
        assert len(zones) > 10


SILENCING = {
    "dictConfig": "logging.config.dictConfig({'version': 1})",
    "disable": "logging.disable(logging.CRITICAL)",
    "levels": "[logging.getLogger(name).setLevel(60) for name in [None, *logging.root.manager.loggerDict]]",
    "factory": "logging.setLogRecordFactory(lambda *_, **__: 1 / 0)",
    "class": "logging.Logger = logging.Handler = None",
    "shutdown": "logging.shutdown()",
    "stderr": "sys.stderr.close()",
}


@pytest.mark.parametrize("what", SILENCING)
def test_whatever_an_application_does_to_logging_the_server_is_heard(what: str) -> None:
    with Server(NOISY, "-s", "1", "-t", "2") as server:
        do(server.port, f"import logging.config\n{SILENCING[what]}")
        mark = server.mark()
        assert get(server.port, "/fail") == 500
        server.wait_for_log(r" ERROR application raised method=GET path='/fail'$", after=mark)
        server.wait_for_log(r"^  LookupError: nothing at /fail$", after=mark)
        do(server.port, "environ['wsgi.errors'].write('still heard\\n')")
        server.wait_for_log(r"^still heard$", after=mark)
        assert server.stop() == 0


def test_a_user_that_cannot_be_shown_costs_no_line() -> None:
    code = "class User:\n    def __str__(self): 1 / 0\nenviron['REMOTE_USER'] = User()"
    with Server(NOISY, "-s", "1") as server:
        do(server.port, code)
        server.out.find(r"^127\.0\.0\.1 - User \[", 30)
        assert get(server.port, "/") == 200
