"""``--chuid``: a server that root starts goes on as another user, for good, and lacks nothing for it."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import spawning
from integration.certificates import own
from integration.client import Client
from integration.control import spawnctl
from integration.server import Finished, Server, run, until
from integration.sites import version, write

APP = "site_app:application"
USER = pwd.getpwnam("nobody")
AS_NOBODY = ["setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--clear-groups"]
REPORT = """\
import json, os
AT_IMPORT = os.getresuid()
try:
    os.setuid(0)
    REGAINED = True
except PermissionError:
    REGAINED = False


def application(environ, start_response):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    facts = {
        "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(), "import": AT_IMPORT,
        "regained": REGAINED, "home": os.environ.get("HOME"), "user": os.environ.get("USER"),
        "capabilities": [status[name].strip() for name in ("CapPrm", "CapEff", "CapAmb")],
    }
    body = json.dumps(facts).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def site() -> Iterator[Path]:
    """Make a directory that everybody may read, as pytest's own is not, with one for control sockets of the user."""
    with tempfile.TemporaryDirectory(prefix="spawning-chuid-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "run").mkdir(mode=0o700)
        shutil.chown(directory / "run", USER.pw_uid, USER.pw_gid)
        write(directory, "1")
        yield directory


def served(site: Path, *arguments: str, before: Sequence[str] = (), ready: bool = True) -> Server:
    environ = {"SPAWNING_CONTROL_DIRECTORY": str(site / "run"), "XDG_RUNTIME_DIR": "/root/run"}
    port = [] if {"--port", "--bind"} & {*arguments} else ["--port", "0"]
    command = [*open_to_all(site), *before, sys.executable, "-m", "spawning", APP, "-s", "1", *port, *arguments]
    return Server(cwd=site, env=environ, command=command, ready=ready)


def open_to_all(site: Path) -> list[str]:
    """Return the beginning of a command that sees the interpreter and Spawning where every user may read them.

    Whoever develops may have them below a home directory. Where a directory on the way is closed, an open one that has
    nothing else in it takes its place, in a namespace of mounts that the command has for itself.
    """
    places = {Path(sys.base_prefix), Path(sys.prefix), Path(spawning.__file__).parent}
    script = []
    for place in sorted(places):
        closed = next((each for each in reversed(place.parents) if not each.stat().st_mode & 0o001), None)
        if closed is not None:
            inside = site / "open" / place.relative_to("/")
            script.append(f"mkdir -p {inside} && mount --bind {place} {inside}")
            script.append(f"mount --rbind {site / 'open' / closed.relative_to('/')} {closed}")
    script.sort(key=lambda line: line.startswith("mount --rbind"))
    return ["unshare", "--mount", "sh", "-c", " && ".join([*dict.fromkeys(script), 'exec "$0" "$@"'])]


def refused(site: Path, *arguments: str) -> Finished:
    with served(site, *arguments, ready=False) as server:
        status = server.wait()
    return Finished(status, "\n".join(server.out.since()), server.log())


def facts(server: Server) -> dict[str, Any]:
    with Client(server.port) as client:
        found: dict[str, Any] = json.loads(client.get("/", "Connection: close").text)
        return found


@pytest.mark.parametrize(
    ("arguments", "gid"),
    [
        (["--chuid", "nobody"], USER.pw_gid),
        (["-u", str(USER.pw_uid)], USER.pw_gid),
        (["--user", "nobody:daemon"], 1),
        (["--user", "nobody", "--group", "daemon"], 1),
        (["-u", "nobody", "-g", "1"], 1),
        (["--uid", "nobody", "--gid", "1", "--no-preload"], 1),
    ],
    ids=["name", "number", "with-group", "and-group", "group-by-number", "no-preload"],
)
def test_everything_of_the_application_runs_as_that_user(site: Path, arguments: list[str], gid: int) -> None:
    (site / "site_app.py").write_text(REPORT)
    with served(site, *arguments) as server:
        uid = USER.pw_uid
        found = facts(server)
        assert found == {
            "uids": [uid] * 3, "gids": [gid] * 3, "groups": [gid], "import": [uid] * 3, "regained": False,
            "home": USER.pw_dir, "user": "nobody", "capabilities": ["0" * 16] * 3,
        }  # fmt: skip
        for process in server.processes():
            assert set(process.uids()) == {uid}, process
            assert set(process.gids()) == {gid}, process


def test_a_number_without_a_name_needs_a_group_and_gets_no_other(site: Path) -> None:
    (site / "site_app.py").write_text(REPORT)
    shutil.chown(site / "run", 54321, 54322)
    with served(site, "--chuid", "54321:54322") as server:
        found = facts(server)
        assert (found["uids"], found["gids"], found["groups"]) == ([54321] * 3, [54322] * 3, [54322])


def test_supplementary_groups_are_those_of_the_user(site: Path) -> None:
    (site / "site_app.py").write_text(REPORT)
    with served(site, "--chuid", "nobody") as server:
        assert facts(server)["groups"] == sorted(os.getgrouplist("nobody", USER.pw_gid))


def test_a_port_and_files_that_only_root_may_open(site: Path) -> None:
    private = site / "private"
    private.mkdir(mode=0o755)
    log, old, pidfile = private / "access.log", private / "old.log", private / "pid"
    old.touch(0o600)
    port = _privileged_port()
    with served(site, "--chuid", "nobody", "--port", str(port), "-l", str(log), "--pidfile", str(pidfile)) as server:
        assert version(port) == "1"
        until(log.read_text, "a line in the log")
        assert log.stat().st_uid == USER.pw_uid  # new, so it can be reopened
        assert pidfile.read_text() == f"{server.pid}\n"
        assert pidfile.stat().st_uid == 0  # root believes it
        second = refused(site, "--pidfile", str(pidfile))
        assert f"belongs to process {server.pid}, which is alive" in second.err
    assert pidfile.read_text() == ""  # the directory is root's
    with served(site, "--chuid", "nobody", "-l", str(old), "--pidfile", str(pidfile)) as server:
        assert pidfile.read_text() == f"{server.pid}\n"
        assert version(server.port) == "1"
        until(old.read_text, "a line in the log")
    assert old.stat().st_uid == 0  # it was somebody's already


def test_a_pidfile_in_a_directory_of_the_user_is_removed(site: Path) -> None:
    pidfile = site / "run" / "pid"
    with served(site, "--chuid", "nobody", "--pidfile", str(pidfile)) as server:
        assert pidfile.read_text() == f"{server.pid}\n"
    assert list((site / "run").iterdir()) == []


def test_a_log_that_was_rotated_is_reopened_or_the_one_before_stays(site: Path) -> None:
    log = site / "access.log"
    with served(site, "--chuid", "nobody", "-l", str(log)) as server:
        log.rename(site / "access.log.1")
        log.touch()
        shutil.chown(log, USER.pw_uid)
        server.signal(signal.SIGUSR1)
        server.wait_for_log("log reopened ")
        # A worker is given the file a moment after that line.
        until(lambda: version(server.port) == "1" and log.read_text(), "a line in the new file")
        log.rename(site / "access.log.2")
        log.touch(0o600)  # root's
        server.signal(signal.SIGUSR1)
        server.wait_for_log('log cannot be opened log=access .*reason="Permission denied" meanwhile="the file before"')
        before = (site / "access.log.2").stat().st_size
        assert version(server.port) == "1"
        until(lambda: (site / "access.log.2").stat().st_size > before, "a line in the file before")


def test_reload_repair_spawnctl_and_upgrade_work_without_root(site: Path) -> None:
    with served(site, "--chuid", "nobody", "--max-worker-memory", "4000") as server:
        write(site, "2")
        assert server.reload()
        assert version(server.port) == "2"
        (control,) = (site / "run").glob("*.sock")
        assert spawnctl("--socket", control, "reload", "--wait").status == 0
        ask = [sys.executable, "-m", "spawning.ctl", "--socket", str(control), "status"]
        as_user = [*open_to_all(site), *AS_NOBODY, *ask]
        assert subprocess.run(as_user, capture_output=True, check=False).returncode == 0
        mark = server.mark()
        os.kill(server.wait_workers(1)[0].pid, signal.SIGKILL)
        server.wait_for_log("worker died", after=mark)
        assert version(server.port) == "2"
        mark = server.mark()
        server.signal(signal.SIGUSR2)
        server.wait_for_log("upgraded ", after=mark)
        server.wait_for_log("reload finished", after=mark)
        assert version(server.port) == "2"
        assert {uid for process in server.processes() for uid in process.uids()} == {USER.pw_uid}


def test_a_key_that_only_root_may_read_is_served_and_said_not_to_be_renewed(site: Path) -> None:
    closed = site / "closed"
    closed.mkdir(mode=0o700)
    first, second = own(closed, name="first"), own(closed, name="second")
    (site / "live.pem").write_text(first.file.read_text())
    options = ["--certfile", str(site / "live.pem"), "--keyfile", str(first.key), "--bind", "127.0.0.1:0?tls"]
    with served(site, "--chuid", "nobody", *options) as server:
        server.wait_for_log(
            rf"WARNING certificate cannot be renewed without a restart user=nobody unreadable={first.key}$"
        )
        write(site, "2")
        assert server.reload()
        assert version(server.where) == "2"
        assert "certificate not replaced" not in server.log()
        (site / "live.pem").write_text(second.file.read_text())
        server.wait_for_log(
            rf'ERROR certificate not replaced, the one before is served reason="option --keyfile: {first.key}'
            r" may not be read by this user; let it \(chown, chmod\)\""
        )
        assert version(server.where) == "2"


def test_a_loading_fork_server_dies_with_its_controller(site: Path) -> None:
    write(site, "1", "import time\nprint('loading', flush=True)\nwhile True: time.sleep(1)")
    with served(site, "--chuid", "nobody", ready=False) as server:
        server.out.find("loading", 30)
        server.signal(signal.SIGKILL)
        server.wait_gone()


# Bad input -----------------------------------------------------------------------------------------------------------

BAD = [
    (["-u", "no-such-user"], "option --chuid: there is no user 'no-such-user'; name one of this machine, or a number"),
    (["--user", "nobody:none"], "option --chuid: there is no group 'none'; name one of this machine, or a number"),
    (["-u", "nobody", "-g", "none"], "option --group: there is no group 'none'; name one of this machine, or a number"),
    (["-u", "54321"], "option --chuid: user 54321 has no name and so no group; write 54321:GROUP"),
    (
        ["-u", "nobody:daemon", "-g", "daemon"],
        "option --group: option --chuid names the group 'daemon' already; leave out one",
    ),
    (["-g", "daemon"], "option --group has no effect without --chuid"),
    (["-u", "nobody:"], "option --chuid: 'nobody:' is not USER or USER:GROUP, by name or number"),
    (["-u", "4294967295"], "option --chuid: '4294967295' is not USER or USER:GROUP, by name or number"),
    (["-u", "nobody", "--control-socket", "s"], "option --control-socket: cannot make a socket at {cwd}/s: Permission"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_what_the_person_has_to_change(site: Path, arguments: list[str], message: str) -> None:
    finished = refused(site, *arguments, "--pidfile", "pid")
    _check_refused(finished, message.format(cwd=site))
    assert {each.name for each in site.iterdir()} - {"__pycache__", "open"} == {"run", "site_app.py"}


@pytest.mark.parametrize("question", [[], ["--check-config"]], ids=["start", "check"])
def test_only_root_can_become_somebody_else(site: Path, question: list[str]) -> None:
    with served(site, "-u", "daemon", *question, before=AS_NOBODY, ready=False) as server:
        status = server.wait()
    _check_refused(
        Finished(status, "", server.log()),
        "option --chuid: only root can become another user; start it as root, or as that user without this option",
    )


def test_who_is_that_user_already_may_say_so(site: Path) -> None:
    with served(site, "-u", "nobody", before=AS_NOBODY) as server:
        assert version(server.port) == "1"


def test_an_interpreter_that_the_user_may_not_read(site: Path) -> None:
    """The first generation would be started by root, and no other one."""
    closed = site / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python").symlink_to(sys.executable)
    environ = {"PYTHONPATH": ":".join(sys.path), "SPAWNING_CONTROL_DIRECTORY": str(site / "run")}
    command = [*open_to_all(site), str(closed / "python"), "-m", "spawning", "--port", "0", APP, "-u", "nobody"]
    with Server(cwd=site, command=command, env=environ, ready=False) as server:
        status = server.wait()
    message = f"option --chuid: user {USER.pw_uid} may not read {closed}/python, which each reload needs; install it"
    _check_refused(Finished(status, "", server.log()), message)


def test_a_file_of_settings_is_named(site: Path) -> None:
    (site / "spawning.toml").write_text('app = "site_app:application"\nchuid = "nobdy"\n')
    _check_refused(run(cwd=site), "spawning.toml, line 2, chuid: there is no user 'nobdy'")


def test_a_factory_cannot_say_it(site: Path) -> None:
    (site / "factories.py").write_text(
        "def config_factory(config):\n"
        "    return {**config, 'chuid': 'nobody', 'app_factory': 'spawning.wsgi_factory.app_factory'}\n"
    )
    finished = run("-f", "factories.config_factory", APP, cwd=site)
    _check_refused(finished, "factory factories.config_factory, setting chuid: it counts before a factory runs; write")


def _check_refused(finished: Finished, message: str) -> None:
    assert finished.err.startswith(f"spawn: {message}"), finished.err
    assert "\n" not in finished.err
    assert finished.status == 2


def _privileged_port() -> int:
    for port in range(700, 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port below 1024 is free")


@pytest.mark.parametrize(("query", "gid"), [("", USER.pw_gid), ("?group=daemon", 1)])
def test_unix_sockets_are_the_users(site: Path, query: str, gid: int) -> None:
    """Which removes them in the end, where it may; nginx of another user needs ``?group``."""
    path, status = site / "run" / "site", site / "run" / "status"
    with served(site, "--port", "0", "--bind", f"unix:{path}{query}", "--status", f"unix:{status}", "-u", "nobody"):
        assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o777) == (USER.pw_uid, gid, 0o660)
        assert status.stat().st_uid == USER.pw_uid
    assert not path.exists()
    assert not status.exists()
