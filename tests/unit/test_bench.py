"""The benchmark suite where it decides something: order, targets, what is a figure, what stands in a page."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import apps, marks, matrix, plot, report, save, targets
from bench.measure import Bench, command_of
from bench.results import Measurement, Results
from bench.servers import LIMIT, SERVERS
from bench.workloads import WORKLOADS

ENVIRONMENT = {
    "date": "today", "commit": "abc", "processor": "one", "cpus": 2, "memory_gb": 8.0, "system": "Linux",
    "congestion_control": "cubic", "python": "3.11",
    "tools": {"wrk": "4"}, "versions": {"spawning": "1"}, "seconds": 2, "repetitions": 3,
}  # fmt: skip


def measured(server: str, workload: str, cpu_us: float, repetition: int = 1) -> Measurement:
    return Measurement(server=server, workload=workload, repetition=repetition, rate=1e6 / cpu_us, cpu_us=cpu_us)


def broken(server: str, workload: str, problem: str) -> Measurement:
    return Measurement(server=server, workload=workload, repetition=1, problem=problem)


def test_servers_take_turns_in_each_repetition() -> None:
    order = [(server, repetition) for server, _, repetition in matrix.plan(["spawning", "granian"], ["a"], 2)]
    assert order == [("spawning", 1), ("granian", 1), ("spawning", 2), ("granian", 2)]


def test_workloads_that_are_compared_share_their_rounds_and_follow_each_other() -> None:
    planned = matrix.plan(["spawning", "granian"], ["b1", "c1", "b4"], 2)
    order = [(repetition, server, workload.name) for server, workload, repetition in planned]
    first = [(1, "spawning", "b1"), (1, "spawning", "b4"), (1, "granian", "b1"), (1, "granian", "b4")]
    assert order[:4] == first
    assert order[4][0] == 2
    assert {workload for _, _, workload in order[8:]} == {"c1"}


def test_workloads_compared_by_way_of_a_third_are_together_in_any_order() -> None:
    assert targets.together(["i4", "a", "b1", "b4"]) == [["i4", "b1", "b4"], ["a"]]


def test_the_application_alone_takes_part_only_where_that_means_something() -> None:
    planned = {(server, workload.name) for server, workload, _ in matrix.plan([LIMIT], list(WORKLOADS), 1)}
    assert (LIMIT, "d-light") in planned
    assert (LIMIT, "e10-8") not in planned


def test_servers_take_part_in_what_they_are_there_for() -> None:
    def under(workload: str) -> set[str]:
        return {server for server, _, _ in matrix.plan([LIMIT, *SERVERS], [workload], 1)}

    assert under("m") == {"spawning", "gunicorn", "granian", "bjoern"}
    assert under("n") == under("p-file") == {"spawning", "gunicorn", "granian", "uvicorn", "nginx-bjoern"}
    assert under("o-full") == under("o-resumed") == {"spawning", "gunicorn", "granian", "nginx"}
    assert not {"uvicorn", "nginx", "nginx-bjoern"} & under("b1")


def test_what_targets_need_is_enough_to_judge_each_of_them() -> None:
    needed = targets.needed()
    results = Results(ENVIRONMENT, [
        Measurement(
            server=server, workload=workload, repetition=1, rate=1.0, cpu_us=1.0, p99_ms=1.0, pss_mb=1.0, start_s=1.0
        )
        for workload, server in sorted(needed)
    ])  # fmt: skip
    assert len(targets.judge(results.summaries())) == len(targets.TARGETS)
    assert {server for _, server in needed} <= {LIMIT, *SERVERS}


def test_a_slow_reader_has_a_body_of_its_own_that_takes_memory() -> None:
    """What the kernel has only promised (zeroes that nobody has touched) would cost a server nothing to keep."""

    def ask() -> bytes:
        (body,) = apps.beside_slow({"PATH_INFO": "/large"}, lambda status, headers: None)
        return body

    one, other = ask(), ask()
    assert one is not other
    assert len(one) == apps.VERY_LARGE
    assert b"\0" not in one


def test_what_a_workload_wants_of_a_server_is_in_its_command() -> None:
    bench = Bench(Path("/venv/bin/python"), Path("/work"), 1, 1)
    names = ("b1", "l", "q", "q-log")
    socket = Path("/tmp/socket")
    command = {name: command_of(bench, SERVERS["spawning"], WORKLOADS[name], 8000, socket) for name in names}
    log = ["-l", "/work/logs/access-spawning.log"]
    observed = ["--status", "127.0.0.1:0", "--app-metrics"]
    assert command["l"] == command["b1"] + log
    assert command["q"] == command["b1"] + observed
    assert command["q-log"] == command["b1"] + log + observed


def test_a_server_with_errors_in_one_repetition_has_no_figure() -> None:
    results = Results(ENVIRONMENT, [measured("granian", "b1", 10.0), broken("granian", "b1", "errors: 1 read")])
    assert not results.summaries()["b1", "granian"].medians
    assert "errors: 1 read" in report.render(results)


def test_the_plot_shows_errors_and_leaves_out_what_is_not_installed() -> None:
    results = Results(ENVIRONMENT, [
        measured("spawning", "b1", 6.0), measured("granian", "b1", 11.0),
        broken("uwsgi", "b1", "errors: 7 read"), broken("bjoern", "b1", "not installed (bjoern)"),
    ])  # fmt: skip
    picture = plot.draw(results)
    assert picture is not None
    texts = [text for text in ElementTree.fromstring(picture).itertext() if text.strip()]
    assert texts.index("spawning") < texts.index("granian") < texts.index("uwsgi")
    assert "errors, no figure" in texts
    assert "bjoern" not in texts


def test_the_plot_shows_our_errors_too() -> None:
    picture = plot.draw(Results(ENVIRONMENT, [measured("granian", "b1", 11.0), broken("spawning", "b1", "errors: 1")]))
    assert picture is not None
    assert "errors, no figure" in picture


def test_there_is_no_plot_of_what_ours_was_not_measured_under() -> None:
    assert plot.draw(Results(ENVIRONMENT, [measured("granian", "b1", 11.0)])) is None


def test_the_overview_has_medians_of_all_servers() -> None:
    runs = [measured("spawning", "b1", cpu, number) for number, cpu in enumerate([9.0, 5.0, 6.0])]
    text = report.overview(Results(ENVIRONMENT, [*runs, measured("granian", "b1", 250.0)]))
    assert "| **b1** | 6.0 | 250 |" in text


def test_results_replace_what_stands_between_their_marks_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter <!-- y: begin -->\n")
    marks.replace(page, "x", "new")
    assert page.read_text() == "before\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nafter <!-- y: begin -->\n"
    with pytest.raises(SystemExit, match="y: begin"):
        marks.replace(page, "y", "new")


def test_the_time_of_a_save_is_divided_by_the_log() -> None:
    log = "".join(
        f"1970-01-01 00:00:{second}.500 +0000 [7] INFO {said} generation=2\n"
        for second, said in (("10", "reload started"), ("12", "worker started"), ("13", "reload finished"))
    )
    assert list(save.divided(10.0, 17.5, log).values()) == [0.5, 2.0, 1.0, 4.0]
    assert save.divided(10.0, 17.5, "") == {}
