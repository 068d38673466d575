"""Limits of control groups of both versions, read from trees of files as kernels and container engines show them."""

import math
from pathlib import Path

import pytest

from spawning.cgroup import Memory, cpus, memory
from spawning.settings import usable_cpus

MB = 1_000_000
NO_LIMIT = "9223372036854771712"  # how version 1 says it

Tree = dict[str, str]  # path below the root to the content of the file


def planted(root: Path, tree: Tree) -> Path:
    for name, text in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def version_2(path: str, groups: Tree) -> Tree:
    return {"proc/self/cgroup": f"0::{path}", **{f"sys/fs/cgroup{name}": text for name, text in groups.items()}}


def version_1(path: str, groups: Tree) -> Tree:
    """The unified hierarchy is there beside it, without any controller, as systemd mounts both."""
    lines = f"9:name=systemd:{path}\n4:memory:{path}\n1:cpu,cpuacct:{path}\n0::{path}"
    return {"proc/self/cgroup": lines, **{f"sys/fs/cgroup{name}": text for name, text in groups.items()}}


CPUS: dict[str, tuple[Tree, float]] = {
    "2: a container, which sees its own group as the root": (version_2("/", {"/cpu.max": "150000 100000"}), 1.5),
    "2: no quota": (version_2("/", {"/cpu.max": "max 100000"}), math.inf),
    "2: a service on the machine": (version_2("/a.slice/b", {"/a.slice/b/cpu.max": "50000 100000"}), 0.5),
    "2: the slice above has less": (
        version_2("/a/b", {"/a/b/cpu.max": "400000 100000", "/a/cpu.max": "200000 100000"}), 2.0,
    ),
    "2: the path outside of the container": (version_2("/../../docker/1", {"/cpu.max": "100000 100000"}), 1.0),
    "1: a container, whose path is that outside": (
        version_1("/docker/1", {"/cpu/cpu.cfs_quota_us": "150000", "/cpu/cpu.cfs_period_us": "100000"}), 1.5,
    ),
    "1: no quota": (version_1("/", {"/cpu/cpu.cfs_quota_us": "-1", "/cpu/cpu.cfs_period_us": "100000"}), math.inf),
    "1: a group on the machine": (
        version_1("/web", {"/cpu/web/cpu.cfs_quota_us": "25000", "/cpu/web/cpu.cfs_period_us": "50000"}), 0.5,
    ),
    "1: two controllers in one directory, and no link": (
        version_1("/", {"/cpu,cpuacct/cpu.cfs_quota_us": "300000", "/cpu,cpuacct/cpu.cfs_period_us": "100000"}), 3.0,
    ),
    "nonsense": (version_2("/", {"/cpu.max": "many"}), math.inf),
    "a period of nothing": (version_2("/", {"/cpu.max": "100000 0"}), math.inf),
    "no /proc": ({"sys/fs/cgroup/cpu.max": "100000 100000"}, math.inf),
    "no /sys": ({"proc/self/cgroup": "0::/"}, math.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", CPUS)
def test_processors(tmp_path: Path, name: str) -> None:
    tree, expected = CPUS[name]
    assert cpus(planted(tmp_path, tree)) == expected


@pytest.mark.parametrize(("quota", "most"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", 10**6)])
def test_the_default_of_workers_is_the_quota_rounded_up(tmp_path: Path, quota: str, most: int) -> None:
    root = planted(tmp_path, version_2("/", {"/cpu.max": quota}))
    assert 1 <= usable_cpus(root) <= most
    assert usable_cpus(root) <= usable_cpus(tmp_path / "none")


def limited(directory: str, limit: int | str, used: int, inactive: int, version: int) -> Tree:
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return {
        f"{directory}/{names[0]}": str(limit),
        f"{directory}/{names[1]}": str(used),
        f"{directory}/memory.stat": f"cache 4096\n{names[2]} {inactive}\nunevictable 0",
    }


MEMORY: dict[str, tuple[Tree, Memory | None]] = {
    "2: a container": (version_2("/", limited("", 500 * MB, 300 * MB, 50 * MB, 2)), Memory(250 * MB, 500 * MB)),
    "2: no limit": (version_2("/", limited("", "max", 300 * MB, 0, 2)), None),
    "2: a service below a slice": (
        version_2("/a/b", limited("/a/b", 500 * MB, 100, 0, 2) | limited("/a", "max", 10**9, 0, 2)),
        Memory(100, 500 * MB),
    ),
    "2: the slice above is nearer to its limit": (
        version_2("/a/b", limited("/a/b", 500 * MB, 100, 0, 2) | limited("/a", 600 * MB, 590 * MB, 0, 2)),
        Memory(590 * MB, 600 * MB),
    ),
    "1: a container, whose path is that outside": (
        version_1("/docker/1", limited("/memory", 500 * MB, 300 * MB, 50 * MB, 1)), Memory(250 * MB, 500 * MB),
    ),
    "1: no limit": (version_1("/", limited("/memory", NO_LIMIT, 300 * MB, 0, 1)), None),
    "1: a group on the machine": (
        version_1("/web", limited("/memory/web", 500 * MB, 100, 0, 1) | limited("/memory", NO_LIMIT, 10**9, 0, 1)),
        Memory(100, 500 * MB),
    ),
    "nonsense": (version_2("/", limited("", "much", 1, 0, 2)), None),
    "no statistics": (version_2("/", {"/memory.max": "1000", "/memory.current": "1"}), None),
    "no /proc": (limited("sys/fs/cgroup", 1000, 1, 0, 2), None),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_memory(tmp_path: Path, name: str) -> None:
    tree, expected = MEMORY[name]
    assert memory(planted(tmp_path, tree)) == expected


def test_this_machine_tells_something_or_nothing() -> None:
    found = memory()
    assert found is None or 0 < found.used < found.limit
    assert cpus() > 0
