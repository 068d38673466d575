"""Files of ``prometheus_client`` in multiprocess mode: those of the dead are merged, and what they counted is kept."""

import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from spawning.status.app_metrics import AppMetrics

DEAD = (4_194_305, 4_194_306, 4_194_307)  # beyond the largest pid that Linux gives


def put(directory: Path, kind: str, pid: int, value: float, timestamp: float = 0.0, name: str = "things") -> Path:
    path = directory / f"{kind}_{pid}.db"
    written = MmapedDict(str(path))  # type: ignore[no-untyped-call]
    sample = f"{name}_total" if kind == "counter" else name
    key = mmap_key(name, sample, ["page"], ["/"], "Some.")
    written.write_value(key, value, timestamp)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]
    return path


def values(metrics: AppMetrics, idle: tuple[int, ...] = ()) -> dict[str, float]:
    families: list[Any] = metrics.collect(idle)
    return {sample.name: sample.value for family in families for sample in family.samples}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("counter", {"things_total": 1 + 2 + 4 + 8}), ("summary", {"things": 15}), ("gauge_sum", {"things": 15}),
        ("gauge_min", {"things": 1}), ("gauge_max", {"things": 8}), ("gauge_mostrecent", {"things": 4}),
        ("gauge_livesum", {"things": 8}), ("gauge_livemax", {"things": 8}), ("gauge_all", {"things": 8}),
    ],
)  # fmt: skip
def test_what_the_dead_have_counted_counts_if_it_is_to(kind: str, expected: dict[str, float], tmp_path: Path) -> None:
    metrics = AppMetrics(str(tmp_path))
    put(tmp_path, kind, os.getpid(), 8, timestamp=1)
    for value, pid, timestamp in zip((1, 2, 4), DEAD, (2, 3, 9), strict=True):
        put(tmp_path, kind, pid, value, timestamp)
        metrics.tidy()
        metrics.tidy()
    assert values(metrics) == expected
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {f"{kind}_{os.getpid()}.db", f"{kind}_0.db"}


def test_gauges_of_fork_servers_that_do_not_serve_do_not_count(tmp_path: Path) -> None:
    put(tmp_path, "gauge_livesum", os.getpid(), 1)
    put(tmp_path, "gauge_livesum", os.getppid(), 10)
    put(tmp_path, "counter", os.getppid(), 100, name="more")
    assert values(AppMetrics(str(tmp_path)), (os.getppid(),)) == {"things": 1, "more_total": 100}


def test_files_of_others_and_a_directory_that_is_not_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("mine")
    (tmp_path / "counter_1.txt").write_text("mine")
    assert values(AppMetrics(str(tmp_path))) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_1.txt", "notes.db"]
    assert values(AppMetrics(str(tmp_path / "missing"))) == {}


@pytest.mark.parametrize("kind", ["counter", "histogram", "gauge_livesum", "gauge_max"])
def test_a_file_that_its_process_has_only_just_made_counts_nothing(kind: str, tmp_path: Path) -> None:
    """The library makes it empty first; one whose process was killed then stays so."""
    metrics = AppMetrics(str(tmp_path))
    put(tmp_path, "counter", DEAD[0], 3)
    made = tmp_path / f"{kind}_{os.getpid()}.db"
    made.touch()
    (tmp_path / f"{kind}_{DEAD[1]}.db").touch()
    assert values(metrics) == {"things_total": 3}
    assert made.exists()
    assert not (tmp_path / f"{kind}_{DEAD[1]}.db").exists()


def test_the_application_cannot_speak_for_the_server(tmp_path: Path) -> None:
    put(tmp_path, "counter", os.getpid(), 8, name="spawning_requests")
    assert values(AppMetrics(str(tmp_path))) == {}
