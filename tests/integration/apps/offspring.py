"""Processes and threads that views start, and how they end: ``spawn offspring.application``."""

import atexit
import concurrent.futures
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_fork = multiprocessing.get_context("fork")
_kept: list[Any] = []  # what has been started, so that nothing collects it


def come_back(how: str) -> Iterable[bytes]:
    """Come back out of the application, in a process that it has forked."""
    if how == "raise":
        raise RuntimeError("the child fails")
    if how == "exit":
        sys.exit(7)
    if how == "exit-well":
        sys.exit()
    if how == "exit-text":
        sys.exit("the child says why")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "block":
        signal.pause()
    return [b"of the child"]


def ended(pid: int) -> bytes:
    """Wait for a child and name its exit status."""
    return b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Closing(list[bytes]):
    """A result whose ``close`` forks."""

    def close(self) -> None:
        if not (pid := os.fork()):
            sys.exit(7)
        _kept.append(ended(pid))


def fork(query: dict[str, str], start_response: StartResponse) -> Iterable[bytes]:
    how = query["how"]
    if how == "generator":
        return generator(start_response)
    if how == "closed":
        start_response("200 OK", [])
        return [_kept.pop()]
    pid = os.fork()
    if not pid:
        if how == "write":
            start_response("200 OK", [])(b"of the child")
        elif how != "no-head":
            start_response("200 OK", [])
        return come_back(how)
    start_response("200 OK", [])
    return [b"%d" % pid if how == "block" else ended(pid)]


def generator(start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"begun "
    if not (pid := os.fork()):
        yield b"of the child"
    else:
        yield ended(pid)


def cut(query: dict[str, str], start_response: StartResponse) -> Iterator[bytes]:
    """Begin a response and fail, while a child lives that has been forked for it, perhaps behind Python's back."""
    start_response("200 OK", [])
    pid = ctypes.CDLL(None).fork() if query["by"] == "C" else os.fork()
    if not pid:
        signal.pause()
    yield b"%d" % pid
    raise RuntimeError("on purpose")


def close(query: dict[str, str], start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return Closing([b"closing"])


def held(query: dict[str, str], start_response: StartResponse) -> Iterable[bytes]:
    """List the sockets and the like that a child has."""
    receiver, sender = _fork.Pipe(duplex=False)
    process = _fork.Process(target=_report, args=(sender,))
    process.start()
    start_response("200 OK", [])
    answer = receiver.recv()
    process.join()
    return [" ".join(answer).encode()]


def _report(sender: Any) -> None:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if link.startswith(("socket:", "anon_inode:")):
            found.append(link)
    sender.send(found)


def terminate(query: dict[str, str], start_response: StartResponse) -> Iterable[bytes]:
    """End a process politely, once it is known to be under way."""
    receiver, sender = _fork.Pipe(duplex=False)
    process = _fork.Process(target=_wait, args=(sender,))
    process.start()
    receiver.recv()
    os.kill(process.pid or 0, int(query["signal"]))
    process.join()
    start_response("200 OK", [])
    return [b"%d" % (process.exitcode or 0)]


def _wait(sender: Any) -> None:
    sender.send("begun")
    signal.pause()


def pool(query: dict[str, str], start_response: StartResponse) -> Iterable[bytes]:
    executor = concurrent.futures.ProcessPoolExecutor(1, mp_context=_fork)
    _kept.append(executor)
    start_response("200 OK", [])
    return [b"%d" % executor.submit(os.getpid).result()]


def daemon(query: dict[str, str], start_response: StartResponse) -> Iterable[bytes]:
    """Whether threads that a view starts are daemons."""
    start_response("200 OK", [])
    current = threading.current_thread()
    facts = (threading.Thread().daemon, current.daemon, current.is_alive(), current in threading.enumerate())
    return [" ".join(map(str, facts)).encode()]


def job(query: dict[str, str], start_response: StartResponse) -> Iterable[bytes]:
    """Leave something to be done behind the response: ``kind`` says by what, ``gate`` is a FIFO that it waits for."""
    wait = Path(query["gate"])
    done = Path(query["done"])
    kind = query["kind"]
    if kind == "thread":
        threading.Thread(target=_job, args=(wait, done), name="mails").start()
    elif kind == "executor":
        executor = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="mails")
        executor.submit(_job, wait, done)
        _kept.append(executor)
    elif kind == "atexit":
        atexit.register(_job, wait, done)
    else:
        process = _fork.Process(target=_job, args=(wait, done), name="mails")
        process.start()
        start_response("200 OK", [])
        return [b"%d" % (process.pid or 0)]
    start_response("200 OK", [])
    return [b"begun"]


def _job(wait: Path, done: Path) -> None:
    wait.read_bytes()
    done.write_text("done")


PATHS = {
    "/fork": fork, "/close": close, "/cut": cut, "/held": held, "/terminate": terminate, "/pool": pool,
    "/daemon": daemon, "/job": job,
}  # fmt: skip


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    if environ["PATH_INFO"] in PATHS:
        return PATHS[environ["PATH_INFO"]](query, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
