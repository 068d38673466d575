"""Being in another network: what a thread opens inside of :func:`inside` belongs there, also in threads it starts."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from clients.programs import program, run

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(network: Path | str) -> Iterator[None]:
    """Have this thread, what it opens, and the threads and programs that it starts be in a network namespace.

    :param network: its file, such as ``/proc/17/ns/net``.
    """
    with open("/proc/thread-self/ns/net", "rb") as home, open(network, "rb") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Machines:
    """Machines in a network of their own, each a network namespace behind a bridge: the n-th has ``10.0.0.n``.

    :param count: how many.
    """

    def __init__(self, count: int) -> None:
        self.addresses = [f"10.0.0.{number}" for number in range(1, count + 1)]
        self._names = [f"spawning-{os.getpid()}-{number}" for number in range(count + 1)]  # the first is the bridge

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "run as root: network namespaces are made"
        try:
            for name in self._names:
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
            bridge, *machines = self._names
            run("ip", "-n", bridge, "link", "add", "bridge", "type", "bridge")
            run("ip", "-n", bridge, "link", "set", "bridge", "up")
            for number, (name, address) in enumerate(zip(machines, self.addresses, strict=True)):
                port = f"port{number}"
                run("ip", "-n", bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
                run("ip", "-n", bridge, "link", "set", port, "master", "bridge", "up")
                run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
                run("ip", "-n", name, "link", "set", "eth0", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def network(self, number: int) -> str:
        """Return the file of a machine's network namespace; machines count from 0."""
        return f"/run/netns/{self._names[number + 1]}"

    def _remove(self) -> None:
        for name in self._names:
            subprocess.run([program("ip"), "netns", "delete", name], check=False, capture_output=True)
