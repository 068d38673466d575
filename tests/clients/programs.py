"""Programs that are no Python packages: found, or named with the Debian package that has them."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from integration.server import DEADLINE

PACKAGES = {
    "ab": "apache2-utils",
    "certutil": "libnss3-tools",
    "chromium": "chromium",
    "curl": "curl",
    "git": "git",
    "h2load": "nghttp2-client",
    "haproxy": "haproxy",
    "litmus": "litmus",
    "logrotate": "logrotate",
    "nginx": "nginx",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "openssl": "openssl",
    "pk12util": "libnss3-tools",
    "rsyslogd": "rsyslog",
    "socat": "socat",
    "wrk": "wrk",
}
DEPLOYING = {  # for tests/deploy alone
    "caddy": "caddy",
    "chroot": "coreutils",
    "debootstrap": "debootstrap",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "ip": "iproute2",
    "iptables": "iptables",
    "kubectl": "kubernetes-client",
    "nsenter": "util-linux",
    "systemd-analyze": "systemd",
    "systemd-nspawn": "systemd-container",
    "tar": "tar",
    "testssl": "testssl.sh",
    "unshare": "util-linux",
}
SEARCHED = "/usr/local/sbin:/usr/sbin:/sbin"  # where daemons are, also for users who do not have it in their PATH


def program(name: str) -> str:
    """Return the path of a program.

    :raises AssertionError: it is not installed; the message names the package.
    """
    path = shutil.which(name) or shutil.which(name, path=SEARCHED)
    assert path, f"{name} is not installed: apt-get install {(PACKAGES | DEPLOYING)[name]}"
    return path


def run(
    name: str,
    *args: str | Path,
    data: bytes = b"",
    timeout: float = DEADLINE,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> bytes:
    """Run a program to its end and give what it wrote to stdout; any exit status but 0 fails, with its stderr.

    :param cwd: the directory that it runs in; by default that of the tests.
    :param env: variables added to its environment.
    """
    command = [program(name), *map(str, args)]
    variables = os.environ | (env or {})
    done = subprocess.run(
        command, input=data, capture_output=True, timeout=timeout, check=False, cwd=cwd, env=variables
    )
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout!r}\n{done.stderr.decode()}"
    return done.stdout
