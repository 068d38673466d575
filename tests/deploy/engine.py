"""A Docker engine of the tests' own, with a base system instead of a registry.

It runs in namespaces of its own (network, mounts, processes), so neither another engine nor the machine's network
notices, and when it ends nothing of it is left but files. Its data lie in a directory of the run. The base system has
the name that the shipped ``Dockerfile`` begins with, so that nothing is fetched. What pip needs lies beside it.
"""

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
from deploy.namespaces import inside
from integration.server import DEADLINE, until

EXAMPLE = ROOT / "examples" / "docker"

RELEASE, PYTHON = "bookworm", "3.11"  # Debian's, and the Python that it has
BASE = f"python:{PYTHON}-slim"
SITE = "mysite:1"


class Engine:
    """One run of ``dockerd``, from start to the last of its processes; as root."""

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "run as root: dockerd needs it"
        for name in ("docker", "iptables", "debootstrap"):
            program(name)
        self._directory = tempfile.TemporaryDirectory(prefix="spawning-docker-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self._environment = os.environ | {"DOCKER_HOST": f"unix://{self.directory}/socket", "DOCKER_BUILDKIT": "0"}
        places = (f"--{name}={self.directory}/{name}" for name in ("data-root", "exec-root", "pidfile"))
        command = [program("dockerd"), *places, "--host", self._environment["DOCKER_HOST"]]
        apart = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        self._log = self.directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([program("unshare"), *apart, *command], stdout=log, stderr=log)
        try:
            until(self._answers, "dockerd answers")
            with inside(self.network):
                run("ip", "link", "set", "lo", "up")
        except BaseException as error:
            error.add_note(self._log.read_text())
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note("\n".join(self._log.read_text().splitlines()[-40:]))
        self._end()

    @property
    def network(self) -> str:
        """The file of its network namespace."""
        return f"/proc/{self._daemon().pid}/ns/net"

    def docker(self, *args: str | Path, data: bytes = b"", timeout: float = 120.0) -> str:
        """Run a command of Docker's to its end and return what it wrote to stdout."""
        return run("docker", *args, data=data, timeout=timeout, env=self._environment).decode()

    def start(self, *args: str | Path) -> "subprocess.Popen[bytes]":
        """Start a command of Docker's, with pipes for its output."""
        command = [program("docker"), *map(str, args)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self._environment, stdout=pipe, stderr=pipe)

    def build(self, tag: str, **variables: str) -> None:
        """Make an image as docs/containers.md says, of the tests' site, and take the shell out of it.

        :param variables: environment variables of the image.
        """
        context = self.directory / "context"
        if not context.exists():
            self.docker("import", "--change", "ENV PIP_NO_INDEX=1", system(RELEASE), BASE)
            shutil.copytree(EXAMPLE, context)
            shutil.copy(Path(__file__).parent / "site" / "mysite.py", context / "site")
            wheels(context / "wheels", PYTHON)
            build = ("build", "--quiet", "--network", "none", "--build-arg", f"PYTHON={PYTHON}")
            self.docker(*build, "--tag", "as-shipped", context, timeout=LONG)
        remove = "import os; [os.remove(f'/usr/bin/{name}') for name in ('sh', 'dash', 'bash')]"
        lines = ["FROM as-shipped", "USER root", f'RUN ["python3", "-c", "{remove}"]', "USER 10001:10001"]
        lines += [f"ENV {name}={value}" for name, value in variables.items()]
        self.docker("build", "--quiet", "--tag", tag, "-", data="\n".join(lines).encode(), timeout=LONG)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "dockerd has ended"
        command = [program("docker"), "version"]
        return not subprocess.run(command, env=self._environment, check=False, capture_output=True).returncode

    def _daemon(self) -> psutil.Process:
        return psutil.Process(self._process.pid).children()[0]

    def _end(self) -> None:
        """Have it stop its containers, and kill what is left, which the kernel does when the daemon ends."""
        try:
            if self._process.poll() is None:
                self._daemon().send_signal(signal.SIGTERM)
                self._process.wait(DEADLINE)
        finally:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._directory.cleanup()
