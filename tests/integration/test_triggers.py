"""What asks for a reload: each kind of change asks for exactly one, whoever makes it and however it is made."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.server import Server, run, until
from integration.sites import version, write

APP = "site_app:application"
FINISHED = r" reload finished generation=(\d+) "


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a site in it."""
    directory = tmp_path / "site"
    directory.mkdir()
    write(directory, "1")
    return directory


@pytest.fixture
def developing(site: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of that site with ``--reload dev``, which watches a directory beside it as well."""
    (tmp_path / "templates" / "deep").mkdir(parents=True)
    (tmp_path / "templates" / "deep" / "page.html").write_text("<p>")
    arguments = (APP, "-s", "1", "--reload", "dev", "-w", str(tmp_path / "templates"))
    with Server(*arguments, cwd=site) as server:
        yield server


def reloads(server: Server, site: Path) -> int:
    """Count the reloads until one that is asked for now and brings a mark has ended."""
    mark = server.mark()
    write(site, "99")
    server.wait_for_log(FINISHED, after=mark)
    assert version(server.port) == "99"
    return server.log().count(" reload started ") - 1


def touch(site: Path) -> None:
    (site / "site_app.py").touch()


def rename_over(site: Path) -> None:
    beside = site / ".site_app.py.swp-1"
    beside.write_text((site / "site_app.py").read_text())
    beside.rename(site / "site_app.py")


def delete_and_recreate(site: Path) -> None:
    text = (site / "site_app.py").read_text()
    (site / "site_app.py").unlink()
    (site / "site_app.py").write_text(text)


def edit_in_a_watched_directory(site: Path) -> None:
    (site.parent / "templates" / "deep" / "page.html").write_text("<h1>")


def create_in_a_watched_directory(site: Path) -> None:
    (site.parent / "templates" / "deep" / "new.html").write_text("<h1>")


@pytest.mark.parametrize(
    "change",
    [touch, rename_over, delete_and_recreate, edit_in_a_watched_directory, create_in_a_watched_directory],
)
def test_a_change_asks_for_one_reload(developing: Server, site: Path, change: Callable[[Path], None]) -> None:
    change(site)
    developing.wait_for_log(FINISHED)
    assert reloads(developing, site) == 1


def test_what_server_and_application_write_is_no_change(site: Path) -> None:
    arguments = ("-s", "1", "--reload", "dev", "-w", ".", "-l", "requests.txt", "--pidfile", "server")
    create = "database.execute('create table if not exists t (x)')"
    before = f"import sqlite3\nwith sqlite3.connect('shop') as database: {create}"
    write(site, "1", before=before)
    with Server(APP, *arguments, cwd=site) as server:
        assert version(server.port) == "1"
        for name in ("site.log", ".git/index", "node_modules/a/b.js", "__pycache__/a.pyc", "data.sqlite3-journal"):
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text("x")
        with contextlib.closing(sqlite3.connect(site / "shop")) as database:
            database.execute("insert into t values (1)")
            database.commit()
        (site / "page.html").write_text("<p>")
        server.wait_for_log(FINISHED)
        assert reloads(server, site) == 1  # for the page alone
        changed = [line for line in server.log().splitlines() if " files changed " in line]
        assert [line.partition(" files changed ")[2] for line in changed] == [
            "count=1 files=page.html",
            "count=1 files=site_app.py",
        ]


def test_a_directory_that_comes_later_is_watched_too(developing: Server, site: Path) -> None:
    deep = site.parent / "templates" / "new" / "deep"
    deep.mkdir(parents=True)
    (deep / "page.html").write_text("1")
    developing.wait_for_log(r' files changed count=1 files="?\.\./templates/new/deep/page\.html"?$')
    developing.wait_for_log(FINISHED)
    mark = developing.mark()
    (deep / "page.html").write_text("2")
    developing.wait_for_log(r' files changed count=1 files="?\.\./templates/new/deep/page\.html"?$', after=mark)
    developing.wait_for_log(FINISHED, after=mark)


@pytest.mark.parametrize("arguments", [[], ["--no-preload"]])
def test_a_module_that_is_written_by_the_import_does_not_loop(site: Path, arguments: list[str]) -> None:
    (site / "build.py").write_text("")
    rewrite = "import pathlib, time\npathlib.Path('build.py').write_text(f'WHEN = {time.time_ns()}')\nimport build"
    write(site, "1", before=rewrite)
    with Server(APP, "-s", "1", "--reload", "dev", *arguments, cwd=site) as server:
        (site / "site_app.py").touch()
        server.wait_for_log(r" file is written by the code's own import, which asks for no reload file=build\.py$")
        before, mark = server.log().count(" files changed "), server.mark()
        write(site, "2", before=rewrite)
        server.wait_for_log(r" files changed count=1 files=site_app\.py$", after=mark)
        until(lambda: version(server.port) == "2", "the edit is served")
        mark = server.mark()
        (site / "build.new").write_text("WHEN = 'edited'")
        later = time.time() + 1  # than the load by more than clocks of files may differ from others
        os.utime(site / "build.new", (later, later))
        (site / "build.new").replace(site / "build.py")
        server.wait_for_log(r" files changed count=1 files=build\.py$", after=mark)
        assert server.log().count(" files changed ") == before + 2


# The kernel's limits -------------------------------------------------------------------------------------------------


def unlimited(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "spawning", "--port", "0", *arguments]


def limited(name: str, value: int, *arguments: str) -> list[str]:
    """Make a command that runs the server where the kernel has so little room (user_namespaces(7))."""
    return [
        "unshare",
        "-Ur",
        "sh",
        "-c",
        f'echo {value} > /proc/sys/user/max_inotify_{name} && exec "$@"',
        "sh",
        *unlimited(*arguments),
    ]


@pytest.mark.parametrize(
    ("name", "value", "sysctl"), [("watches", 10, "max_user_watches"), ("instances", 0, "max_user_instances")]
)
def test_at_the_kernel_s_limit_files_are_looked_at(site: Path, name: str, value: int, sysctl: str) -> None:
    for number in range(20):
        (site / "templates" / str(number)).mkdir(parents=True)
    command = limited(name, value, APP, "-s", "1", "--reload", "dev", "-w", "templates")
    with Server(command=command, cwd=site) as server:
        server.wait_for_log(
            rf" WARNING the kernel's limit fs\.inotify\.{sysctl} is reached, .* sysctl fs\.inotify\.{sysctl}="
        )
        for change in (site / "templates" / "19" / "page.html", site / "templates" / "new" / "page.html"):
            mark = server.mark()
            change.parent.mkdir(exist_ok=True)
            change.write_text("<p>")
            server.wait_for_log(rf" files changed count=1 files={change.relative_to(site)}$", after=mark)
            server.wait_for_log(FINISHED, after=mark)
        mark = server.mark()
        write(site, "2")
        server.wait_for_log(FINISHED, after=mark)
        assert version(server.port) == "2"
        assert server.log().count("the kernel's limit") == 1


@pytest.mark.parametrize("room", [None, ("watches", 10), ("instances", 0)])
def test_what_is_written_before_anything_is_watched_is_found(site: Path, room: tuple[str, int] | None) -> None:
    for number in range(20):
        (site / "templates" / str(number)).mkdir(parents=True)
    page = site / "templates" / "19" / "page.html"
    write(site, "1", before=f"import os\nif not os.path.exists({str(page)!r}):\n    open({str(page)!r}, 'w').close()\n")
    arguments = (APP, "-s", "1", "--reload", "dev", "-w", "templates")
    command = limited(*room, *arguments) if room else unlimited(*arguments)
    with Server(command=command, cwd=site) as server:
        server.wait_for_log(r" files changed count=1 files=templates/19/page\.html$")
        server.wait_for_log(FINISHED)


@pytest.mark.parametrize("room", [None, ("watches", 30)])
def test_what_was_told_is_not_told_again_when_a_directory_comes(site: Path, room: tuple[str, int] | None) -> None:
    (site / "templates" / "old").mkdir(parents=True)
    arguments = (APP, "-s", "1", "--reload", "dev", "-w", "templates")
    command = limited(*room, *arguments) if room else unlimited(*arguments)
    with Server(command=command, cwd=site) as server:
        for number in range(3):
            mark = server.mark()
            write(site, str(number))
            server.wait_for_log(r" files changed count=1 files=site_app\.py$", after=mark)
            server.wait_for_log(FINISHED, after=mark)
            changes = [site / "templates" / "old" / f"{number}.html", site / "templates" / f"new{number}" / "page.html"]
            for change in changes:
                mark = server.mark()
                change.parent.mkdir(exist_ok=True)
                change.write_text("<p>")
                server.wait_for_log(rf" files changed count=1 files={change.relative_to(site)}$", after=mark)
                server.wait_for_log(FINISHED, after=mark)


def test_the_ini_file_is_watched(site: Path) -> None:
    ini = site / "site.ini"
    lines = "[app:main]\npaste.app_factory = site_app:factory\n[server:main]\nuse = egg:spawning\nnum_processes = 1\n"
    path = site / "site_app.py"
    path.write_text(f"{path.read_text()}\n\ndef factory(global_config):\n    return application\n")
    ini.write_text(lines)
    with Server("-f", "paste", str(ini), "--reload", "dev", cwd=site) as server:
        ini.write_text(lines.replace("num_processes = 1", "num_processes = 2"))
        assert server.wait_for_log(FINISHED)[1] == "2"
        server.wait_workers(2)


def test_a_directory_that_is_replaced_is_watched_again(site: Path) -> None:
    package = site / "helper"
    package.mkdir()
    (package / "__init__.py").write_text("")
    write(site, "1", before="import helper")
    with Server(APP, "-s", "1", "--reload", "dev", cwd=site) as server:
        shutil.rmtree(package)
        server.wait_for_log(r" reload refused generation=2 ")
        mark = server.mark()
        package.mkdir()
        (package / "__init__.py").write_text("")
        server.wait_for_log(FINISHED, after=mark)


# What the developer sees ---------------------------------------------------------------------------------------------


def break_helper(site: Path) -> None:
    """Have the site import a helper whose function fails, two lines below its head."""
    (site / "helper.py").write_text("def work():\n    value = 'a'\n    return value + 1\n\n\nwork()\n")
    write(site, "2", before="import helper")


def test_a_refused_change_is_shown_with_the_code_around_it_and_the_files_that_changed(
    developing: Server, site: Path
) -> None:
    break_helper(site)
    developing.wait_for_log(r" reload refused generation=2 ")
    log = developing.log()
    assert "changed: site_app.py\n" in log
    assert "❱ 3 │   return value + 1" in log
    assert "value = 'a'" in log
    assert log.count("TypeError: can only concatenate str") == 2  # the traceback, and the reason
    assert "importlib" not in log
    assert "wsgi_factory.py" not in log


def test_without_rich_the_plain_traceback_and_a_hint_do(site: Path, tmp_path: Path) -> None:
    (tmp_path / "absent" / "rich").mkdir(parents=True)
    (tmp_path / "absent" / "rich" / "__init__.py").write_text("raise ImportError('not installed')\n")
    environ = {"PYTHONPATH": str(tmp_path / "absent")}
    with Server(APP, "-s", "1", "--reload", "dev", cwd=site, env=environ) as server:
        break_helper(site)
        server.wait_for_log(r" reload refused generation=2 ")
        assert server.log().count("TypeError: can only concatenate str") == 2  # the traceback, and the reason
        assert server.log().count("the extra spawning[dev]: pip install rich") == 1


# A link that is pointed elsewhere ------------------------------------------------------------------------------------


def release(tmp_path: Path, number: str) -> None:
    """Deploy a release as ``ln -sfn`` and its atomic forms do."""
    directory = tmp_path / "releases" / number
    directory.mkdir(parents=True)
    write(directory, number)
    link = tmp_path / "new"
    link.symlink_to(f"releases/{number}")
    link.rename(tmp_path / "current")


def test_each_generation_starts_where_the_name_leads_now(tmp_path: Path) -> None:
    release(tmp_path, "1")
    current = tmp_path / "current"
    with Server(APP, "-s", "1", cwd=current, env={"PWD": str(current)}) as server:
        release(tmp_path, "2")
        shutil.rmtree(tmp_path / "releases" / "1")
        assert version(server.port) == "1"
        assert server.reload()
        assert version(server.port) == "2"
        current.unlink()
        assert not server.reload()
        server.wait_for_log(rf'reload refused generation=3 reason="cannot start in directory {current}: No such file')
        assert version(server.port) == "2"
        release(tmp_path, "3")
        assert server.reload()
        assert version(server.port) == "3"


def test_pointing_it_elsewhere_is_a_change(tmp_path: Path) -> None:
    release(tmp_path, "1")
    current = tmp_path / "current"
    with Server(APP, "-s", "1", "--reload", "dev", cwd=current, env={"PWD": str(current)}) as server:
        for number in ("2", "3"):
            mark = server.mark()
            release(tmp_path, number)
            assert server.wait_for_log(FINISHED, after=mark)[1] == number
            assert version(server.port) == number


def test_what_lies_below_a_directory_behind_a_link_is_watched(tmp_path: Path) -> None:
    release(tmp_path, "1")
    current = tmp_path / "current"
    arguments = (APP, "-s", "1", "--reload", "dev", "-w", ".")
    with Server(*arguments, cwd=current, env={"PWD": str(current)}) as server:
        for file in (current / "page.html", tmp_path / "releases" / "1" / "deep" / "page.html"):
            mark = server.mark()
            file.parent.mkdir(exist_ok=True)
            file.write_text("<p>")
            server.wait_for_log(r" files changed count=1 files=\S*page\.html$", after=mark)
            server.wait_for_log(FINISHED, after=mark)


# Commits -------------------------------------------------------------------------------------------------------------


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *identity, *arguments], cwd=directory, env=environ, check=True, capture_output=True)


def commit(directory: Path, number: str) -> None:
    write(directory, number)
    git(directory, "add", "site_app.py")
    git(directory, "commit", "-m", number)


def test_another_commit_reloads_and_an_edit_does_not(tmp_path: Path) -> None:
    origin, site = tmp_path / "origin", tmp_path / "site"
    origin.mkdir()
    git(origin, "init")
    commit(origin, "1")
    git(tmp_path, "clone", str(origin), str(site))
    with Server(APP, "-s", "1", "--reload", "git", cwd=site) as server:
        commit(origin, "2")
        git(site, "pull", "--ff-only")
        server.wait_for_log(r" commit changed before=[0-9a-f]{12} commit=[0-9a-f]{12}$")
        assert server.wait_for_log(FINISHED)[1] == "2"
        assert version(server.port) == "2"
        mark = server.mark()
        write(site, "edited")
        git(site, "stash")
        git(site, "checkout", "HEAD~1")  # reported after whatever the edit might have caused
        assert server.wait_for_log(FINISHED, after=mark)[1] == "3"
        assert version(server.port) == "1"


def test_a_commit_counts_when_the_operation_is_complete(tmp_path: Path) -> None:
    git(tmp_path, "init")
    commit(tmp_path, "1")
    commit(tmp_path, "2")
    git(tmp_path, "branch", "newer")
    git(tmp_path, "reset", "--hard", "HEAD~1")
    with Server(APP, "-s", "1", "--reload", "git", cwd=tmp_path) as server:
        merging = tmp_path / ".git" / "MERGE_HEAD"
        merging.touch()
        git(tmp_path, "update-ref", "refs/heads/main", "newer")
        assert server.reload()
        assert " commit changed " not in server.log()
        merging.unlink()
        server.wait_for_log(r" commit changed ")
        assert server.wait_for_log(r" reload finished generation=3 ")


def test_outside_of_a_repository(tmp_path: Path) -> None:
    write(tmp_path, "1")
    finished = run(APP, "--reload", "git", cwd=tmp_path)
    assert finished.status == 2
    assert finished.err == (
        f"spawn: option --reload (git): {tmp_path} is not in a git repository; start in a checkout of the application"
    )


# Without the libraries -----------------------------------------------------------------------------------------------


def absent(directory: Path, *names: str) -> dict[str, str]:
    """Return variables with which these packages are as if they were not installed."""
    directory.mkdir()
    hook = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
    (directory / "sitecustomize.py").write_text(hook)
    return {"PYTHONPATH": str(directory)}


@pytest.mark.parametrize("mode", ["dev", "git"])
@pytest.mark.parametrize("question", [[], ["--check-config"]])
def test_to_watch_without_the_library_is_one_line_that_names_the_extra(
    site: Path, tmp_path: Path, mode: str, question: list[str]
) -> None:
    result = run(APP, "--reload", mode, *question, cwd=site, env=absent(tmp_path / "absent", "watchfiles"))
    assert result.status == 2
    needed = f"{mode} needs watchfiles, the extra spawning[reload]: pip install watchfiles"
    assert result.err.splitlines()[-1] == f"spawn: option --reload: {needed}"


def test_a_reload_that_wants_to_watch_without_the_library_is_refused(site: Path, tmp_path: Path) -> None:
    config = site / "spawning.toml"
    config.write_text("processes = 1\n")
    with Server(APP, cwd=site, env=absent(tmp_path / "absent", "watchfiles")) as server:
        config.write_text('processes = 1\nreload = "dev"\n')
        assert not server.reload()
        server.wait_for_log(r"needs watchfiles, the extra spawning\[reload\]")


def test_a_server_that_reloads_by_signal_needs_neither_watchfiles_nor_setproctitle(site: Path, tmp_path: Path) -> None:
    without = absent(tmp_path / "absent", "watchfiles", "setproctitle", "rich", "prometheus_client")
    with Server(APP, "-s", "1", "--status", "0", cwd=site, env=without) as server:
        assert server.reload()
        until(lambda: {process.name()[:9] for process in server.processes()} == {"spawning:"}, "short names of all")
