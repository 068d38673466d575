"""Chromium, without a window and without a network: a page that stays open while a test goes on."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from clients.programs import program, run
from integration.certificates import Certificate, openssl
from integration.server import DEADLINE

PATIENCE = 4 * DEADLINE  # seconds; for what a page does: a browser takes a while to start on a loaded machine

OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # it asks nobody else
    "--remote-debugging-port=0",  # or it ends when it has loaded the page
)


@contextlib.contextmanager
def browser(url: str, directory: Path, *options: str, certificate: Certificate | None = None) -> Iterator[None]:
    """Have a page open in a browser of its own, which ends with all of its processes.

    :param certificate: which it shows to every server that asks for one.
    """
    command = [program("chromium"), *OPTIONS, *options, f"--user-data-dir={directory / 'profile'}", url]
    environ = dict(os.environ)
    if certificate is not None:
        environ["HOME"] = str(directory)
        command = [*_showing(certificate, directory), *command]
    with (directory / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environ
        )
    try:
        yield
    except AssertionError as error:
        error.add_note(f"the browser:\n{(directory / 'browser.log').read_text('utf-8', 'replace')}")
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has failed, and has been reaped
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE)


def _showing(certificate: Certificate, directory: Path) -> list[str]:
    """Prepare a browser's home, and make the begin of a command that lets only this browser see a policy: without one
    it would ask somebody which certificate to show (``AutoSelectCertificateForUrls`` of its list of policies).
    """
    database = f"sql:{directory / '.pki' / 'nssdb'}"
    (directory / ".pki" / "nssdb").mkdir(parents=True)
    both = directory / "both.p12"
    openssl("pkcs12", "-export", "-in", str(certificate.file), "-inkey", str(certificate.key),
            "-out", str(both), "-passout", "pass:")  # fmt: skip
    run("certutil", "-N", "--empty-password", "-d", database)
    run("pk12util", "-i", both, "-d", database, "-W", "")
    policies = directory / "etc" / "policies" / "managed"
    policies.mkdir(parents=True)
    policy = {"AutoSelectCertificateForUrls": [json.dumps({"pattern": "*", "filter": {}})]}
    (policies / "policy.json").write_text(json.dumps(policy))
    return ["unshare", "-rm", "sh", "-c", f'mount --bind {directory / "etc"} /etc/chromium && exec "$@"', "sh"]
