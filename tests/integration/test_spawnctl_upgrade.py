"""``spawnctl upgrade``: waiting for the end across the exec, and what is still known afterwards."""

import json
import shutil
from pathlib import Path

import spawning
from integration.control import spawnctl
from integration.server import Server
from integration.sites import version, write

APP = "site_app:application"
PACKAGE = Path(spawning.__file__).parent


def test_upgrade_waits_until_a_generation_of_the_new_program_serves(tmp_path: Path) -> None:
    path = tmp_path / "ctl.sock"
    write(tmp_path, "1")
    with Server(APP, "-s", "1", "--control-socket", str(path), cwd=tmp_path) as server:
        write(tmp_path, "2")
        done = spawnctl("-S", path, "upgrade", "--wait")
        assert done.status == 0, done.err
        assert done.err.startswith("checking the Spawning that is installed\n")
        assert done.out.startswith("generation 2 serves, after ")
        assert version(server.port) == "2"
        found = json.loads(spawnctl("-S", path, "status", "--json").out)
        assert (found["pid"], found["serving"], found["address"]) == (server.pid, 2, server.url)
        (tmp_path / "site_app.py").write_text("import nothing_of_that_name\n")
        refused = spawnctl("-S", path, "upgrade", "--wait")
        assert refused.status == 1
        assert "ModuleNotFoundError: No module named 'nothing_of_that_name'\n" in refused.err
        assert "spawnctl: generation 3 was refused: " in refused.err
        assert version(server.port) == "2"
        assert server.stop() == 0
        assert not path.exists()


def test_an_upgrade_that_does_not_work_is_refused_with_what_the_new_program_says(tmp_path: Path) -> None:
    path = tmp_path / "ctl.sock"
    installed = tmp_path / "installed" / "spawning"
    shutil.copytree(PACKAGE, installed, ignore=shutil.ignore_patterns("__pycache__"))
    write(tmp_path, "1")
    env = {"PYTHONPATH": str(installed.parent)}
    with Server(APP, "-s", "1", "--control-socket", str(path), cwd=tmp_path, env=env) as server:
        (installed / "controller" / "plan.py").write_text("import nothing_of_that_name\n")
        refused = spawnctl("-S", path, "upgrade", "--wait")
        assert refused.status == 1
        assert refused.out == ""
        reason = "ModuleNotFoundError: No module named 'nothing_of_that_name'"
        assert refused.err.splitlines()[-2:] == [reason, f"spawnctl: the upgrade was refused: {reason}"]
        assert version(server.port) == "1"
        assert spawnctl("-S", path, "status").status == 0
