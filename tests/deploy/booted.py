"""A Debian system that systemd has booted, in a container of ``systemd-nspawn``, with the shipped units in it.

The control groups are of version 2, mounted for it alone: systemd wants them so, whatever the machine has.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from clients.programs import program, run
from deploy.base import LONG, ROOT, system, wheels
from integration.server import DEADLINE, until

EXAMPLE = ROOT / "examples" / "systemd"
RELEASE, PYTHON = "trixie", "3.13"  # Debian's, with a systemd that knows notify-reload; and its Python
_BOOT = 'umount --recursive --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
_PLACES = {
    "mysite.service": "etc/systemd/system",
    "mysite.socket": "etc/systemd/system",
    "spawning.toml": "etc/mysite",
    "mysite.logrotate": "etc/logrotate.d",
}
_VENV = "/srv/mysite/venv"


class Booted:
    """One such system, from its start to its end; as root."""

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "run as root: a container is made"
        for name in ("systemd-nspawn", "unshare", "debootstrap"):
            program(name)
        self._directory = tempfile.TemporaryDirectory(prefix="spawning-booted-", ignore_cleanup_errors=True)
        self.root = Path(self._directory.name) / "root"
        self.root.mkdir()
        self._log = Path(self._directory.name) / "log"
        self._name = f"spawning-{os.getpid()}"
        try:
            self._fill()
        except BaseException:
            self._directory.cleanup()
            raise
        options = ("--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe", "--resolv-conf=off")
        nspawn = [program("systemd-nspawn"), "--directory", str(self.root), f"--machine={self._name}", *options]
        apart = [program("unshare"), "--mount", "--propagation", "private", "sh", "-c", _BOOT, "sh", *nspawn]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(apart, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(self._runs, "the system has booted", timeout=60)
        except BaseException as error:
            error.add_note(self._log.read_text())
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with contextlib.suppress(AssertionError):
                error.add_note(self.run("journalctl", "--no-pager", "--lines=60"))
        self._end()

    @property
    def network(self) -> str:
        """The file of its network namespace."""
        return f"/proc/{self._init()}/ns/net"

    def run(self, *command: str) -> str:
        """Run a command in it to its end and return what it wrote to stdout."""
        path = f"PATH={_VENV}/bin:/usr/sbin:/usr/bin"
        return run(
            "nsenter", "--all", f"--target={self._init()}", "env", "--ignore-environment", path, *command
        ).decode()

    def _fill(self) -> None:
        run("tar", "--extract", "--file", system(RELEASE, "systemd-sysv", "logrotate"), "--directory", self.root)
        wheels(self.root / "wheels", PYTHON)
        pip = f"{_VENV}/bin/pip install --quiet --no-index --find-links /wheels /wheels/spawning-*"
        made = f"python3 -m venv {_VENV} && {pip} && useradd --system --user-group mysite"
        run("chroot", self.root, "sh", "-c", made, timeout=LONG, env={"PATH": "/usr/sbin:/usr/bin"})
        for name, place in _PLACES.items():
            (self.root / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(EXAMPLE / name, self.root / place)
        (self.root / "srv/mysite/current/mysite").mkdir(parents=True)

    def _runs(self) -> bool:
        assert self._process.poll() is None, "systemd-nspawn has ended"
        with contextlib.suppress(AssertionError, IndexError):
            return self.run("systemctl", "is-system-running").strip() == "running"
        return False

    def _init(self) -> int:
        return int(psutil.Process(self._process.pid).children()[0].pid)

    def _end(self) -> None:
        try:
            self._process.send_signal(signal.SIGTERM)  # has the system power off
            self._process.wait(DEADLINE)
        finally:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._directory.cleanup()
            with contextlib.suppress(OSError):
                Path("/run/systemd/nspawn/propagate", self._name).rmdir()
