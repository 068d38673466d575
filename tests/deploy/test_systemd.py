"""The shipped units under a real systemd, as they stand there."""

import http.client
import re
import shutil
from collections.abc import Iterator

import pytest

from deploy.booted import Booted
from deploy.namespaces import inside
from integration.load import Load
from integration.server import until
from integration.sites import version
from unit.documented import of

PORT = 80
MOST_EXPOSED = 2.5  # of 10, as `systemd-analyze security` counts
LOG = "/var/log/mysite/access.log"
SITE = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "{length}")])
    return [b"{version}"]
"""


def write(system: Booted, version: str) -> None:
    text = SITE.format(version=version, length=len(version))
    (system.root / "srv/mysite/current/mysite/wsgi.py").write_text(text)


@pytest.fixture(scope="module")
def system() -> Iterator[Booted]:
    """A system that serves the site; the test is in its network."""
    with Booted() as system, inside(system.network):
        write(system, "1")
        system.run("systemctl", "enable", "--now", "mysite.socket", "mysite.service")
        yield system


def test_start_returns_when_the_service_serves(system: Booted) -> None:
    assert system.run("systemctl", "is-active", "mysite.service") == "active\n"
    assert version(PORT) == "1"
    status = system.run("systemctl", "show", "--property=StatusText,User", "mysite.service")
    assert re.search(r"^StatusText=generation 1 serves with \d+ worker", status, re.MULTILINE)
    assert re.search(r"^User=mysite$", status, re.MULTILINE)
    assert "WARNING" not in system.run("journalctl", "--unit=mysite.service")


def test_nothing_is_wrong_with_the_units(system: Booted) -> None:
    assert system.run("systemd-analyze", "verify", "mysite.service", "mysite.socket") == ""
    told = system.run("systemd-analyze", "security", "mysite.service")
    exposed = re.search(r"Overall exposure level for mysite\.service: ([\d.]+)", told)
    assert exposed is not None
    assert float(exposed[1]) <= MOST_EXPOSED, told


def test_nothing_is_wrong_with_what_the_page_adds_to_units(system: Booted) -> None:
    """Each block of ``docs/systemd.md``, as a drop-in of the shipped unit of its section."""
    blocks = [block.text for block in of("indented") if block.page == "systemd.md" and "systemctl" not in block.text]
    assert len(blocks) == 3
    for text in blocks:
        unit = "mysite.socket" if "[Socket]" in text else "mysite.service"
        place = system.root / "run/systemd/system" / f"{unit}.d"
        place.mkdir(parents=True)
        # The command of the page stands in the place of the one that is shipped.
        once = text.replace("ExecStart=", "ExecStart=\nExecStart=")
        (place / "page.conf").write_text(once if "[" in once.split("\n", 1)[0] else f"[Service]\n{once}")
        try:
            assert system.run("systemd-analyze", "verify", unit) == ""
        finally:
            shutil.rmtree(place)


def test_spawnctl_of_root_finds_the_service_of_its_user(system: Booted) -> None:
    main = system.run("systemctl", "show", "--property=MainPID", "--value", "mysite.service").strip()
    assert f", pid {main}, http://" in system.run("spawnctl", "status")


def test_reload_returns_when_the_new_code_serves_and_costs_nobody_a_request(system: Booted) -> None:
    with Load(PORT, fresh=2, kept=2) as load:
        for number in ("2", "3"):
            load.wait_for_more()
            write(system, number)
            system.run("systemctl", "reload", "mysite.service")
            assert version(PORT) == number
        load.wait_for_more()
    assert load.failures == []


def test_reload_ends_when_the_new_code_is_refused(system: Booted) -> None:
    (system.root / "srv/mysite/current/mysite/wsgi.py").write_text("import nothing_of_that_name\n")
    before = version(PORT)
    system.run("systemctl", "reload", "mysite.service")
    assert version(PORT) == before
    write(system, before)


def test_a_restart_refuses_no_connection(system: Booted) -> None:
    """They wait in the socket of systemd's."""
    with Load(PORT, fresh=4, kept=0) as load:
        load.wait_for_more()
        write(system, "4")
        system.run("systemctl", "restart", "mysite.service")
        load.wait_for(4)
    assert load.failures == []


def test_an_upgrade_in_place_is_a_reload_of_the_same_process(system: Booted) -> None:
    before = system.run("systemctl", "show", "--property=MainPID", "mysite.service")
    with Load(PORT, fresh=2, kept=2) as load:
        load.wait_for_more()
        system.run("spawnctl", "upgrade", "--wait")
        load.wait_for_more()
    assert load.failures == []
    assert system.run("systemctl", "show", "--property=MainPID", "mysite.service") == before
    assert system.run("systemctl", "is-active", "mysite.service") == "active\n"


def test_logs_are_rotated(system: Booted) -> None:
    log = system.root / LOG.lstrip("/")
    assert ask("/before") == 200
    until(lambda: "/before" in log.read_text(), "the line")
    system.run("logrotate", "--force", "/etc/logrotate.d/mysite.logrotate")
    assert system.run("stat", "--format=%U:%G %a", LOG) == "mysite:adm 640\n"
    until(lambda: ask("/after") and "/after" in log.read_text(), "a line in the new file")
    assert "/before" in (log.parent / "access.log.1").read_text()


def test_a_rotation_to_a_file_of_root_loses_no_line(system: Booted) -> None:
    """The user of the service cannot open it: the one before stays in use, and the log says why."""
    rules = system.root / "etc/logrotate.d/mysite.logrotate"
    shipped = rules.read_text()
    log = system.root / LOG.lstrip("/")
    rules.write_text(shipped.replace("create 640 mysite adm", "create 640 root adm"))
    system.run("logrotate", "--force", "/etc/logrotate.d/mysite.logrotate")
    wanted = 'log cannot be opened log=access .* reason="Permission denied" meanwhile="the file before"'
    until(lambda: re.search(wanted, system.run("journalctl", "--unit=mysite.service")), "what is wrong is said")
    assert ask("/in-the-old-one") == 200
    until(lambda: "/in-the-old-one" in (log.parent / "access.log.1").read_text(), "the line")
    rules.write_text(shipped)
    system.run("chown", "mysite:adm", LOG)  # it is tried again every second
    until(lambda: ask("/again") and "/again" in log.read_text(), "a line in the new file")


def test_a_controller_that_hangs_is_replaced(system: Booted) -> None:
    drop_in = system.root / "etc/systemd/system/mysite.service.d/soon.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", "mysite.service")
    before = system.run("systemctl", "show", "--property=MainPID", "--value", "mysite.service")
    system.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "mysite.service")

    def replaced() -> bool:
        now = system.run("systemctl", "show", "--property=MainPID,ActiveState", "--value", "mysite.service")
        return "active" in now.split() and before.strip() not in now.split()

    until(replaced, "another controller")
    assert ask("/") == 200
    assert "watchdog" in system.run("journalctl", "--unit=mysite.service").lower()


def ask(path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
