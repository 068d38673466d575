"""What ``/metrics`` and StatsD say of the requests that there were, and that no counter ever goes back."""

import json
import os
import re
import signal
import socket
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from integration.client import Client, fetch, request
from integration.gate import Gate
from integration.server import Server
from integration.sites import held
from integration.status import STATUS, counters, samples, status, status_pid, status_port, wait_counted

SITE = ("basics.application", "-s", "2", "-t", "4", *STATUS)
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("threads", ["0", "1", "4"])
def test_requests_are_counted_by_method_and_class_of_status(threads: str, kept: bool) -> None:
    with Server("basics.application", "-s", "2", "-t", threads, *STATUS) as server:
        port = status_port(server)
        with Client(server.port) as client:
            get = client.get if kept else partial(fetch, server.port)
            for method, target in [
                ("GET", "/hello"), ("GET", "/hello"), ("HEAD", "/hello"), ("GET", "/status?code=404"),
                ("BREW", "/hello"), ("DELETE", "/status?code=204"), ("GET", "/raise-early"),
            ]:  # fmt: skip
                get(target, method=method)
        with Client(server.port) as client:
            client.send(b"nonsense\r\n\r\n")
            assert client.read().status == 400
        wait_counted(port, "spawning_request_duration_seconds_count", 7)
        found = {name: value for name, value in samples(port).items() if name.startswith("spawning_requests_total")}
        assert found == {
            'spawning_requests_total{method="GET",status="2xx"}': 2,
            'spawning_requests_total{method="HEAD",status="2xx"}': 1,
            'spawning_requests_total{method="GET",status="4xx"}': 1,
            'spawning_requests_total{method="GET",status="5xx"}': 1,
            'spawning_requests_total{method="other",status="2xx"}': 1,
            'spawning_requests_total{method="DELETE",status="2xx"}': 1,
        }
        wait_counted(port, "spawning_requests_refused_total", 1)
        assert status(port)["totals"]["errors"] == 1
        assert samples(port)["spawning_response_body_bytes_total"] >= 3 * 14
        assert samples(port)["spawning_request_queue_seconds_count"] == 7


def test_what_is_under_way_and_what_waits_is_there(gate: Gate) -> None:
    with Server("basics.application", "-s", "1", "-t", "1", *STATUS) as server, held(gate, server.port):
        port = status_port(server)
        with Client(server.port) as waits:
            waits.send(request("/hello"))
            wait_counted(port, 'spawning_requests_in_flight{state="queued"}', 1)
            found = samples(port)
            assert found['spawning_requests_in_flight{state="executing"}'] == 1
            assert found["spawning_connections"] == 2
            assert found['spawning_workers{state="serving"}'] == 1
            assert found['spawning_memory_pss_bytes{process="worker"}'] > 1 << 20
            gate.open()
            assert waits.read().status == 200
        wait_counted(port, "spawning_request_queue_seconds_count", 2)
        assert samples(port)["spawning_request_queue_seconds_sum"] > 0


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/plain; version=0.0.4"), ("text/plain", "text/plain; version="),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text"),
        ("nonsense", "text/plain"),
    ],
)  # fmt: skip
def test_the_format_is_negotiated(accept: str | None, kind: str) -> None:
    with Server(*SITE) as server:
        port = status_port(server)
        fetch(server.port, "/hello")
        answer = fetch(port, "/metrics", *([f"Accept: {accept}"] if accept else []))
        assert answer["content-type"].startswith(kind)
        if "openmetrics" in kind:
            names = {family.name for family in openmetrics(answer.text)}  # type: ignore[no-untyped-call]
            assert {"spawning_requests", "spawning_request_duration_seconds", "spawning_build"} <= names
            assert answer.text.endswith("# EOF\n")


def test_no_counter_goes_back_over_deaths_reloads_and_upgrades() -> None:
    with Server(*SITE, "--keep-previous", "0.1") as server:
        port = status_port(server)
        before = counters(port)
        for step in range(12):
            for _ in range(3):
                with Client(server.port) as client:
                    client.get("/hello")
            mark = server.mark()
            if step % 4 == 3:
                server.signal(signal.SIGUSR2)
                status_pid(server, after=mark)
                server.wait_for_log(r" reload finished ", after=mark)
            elif step % 2:
                assert server.reload()
            else:
                os.kill(server.workers()[-1].pid, signal.SIGKILL)
                server.wait_for_log(r" worker started ", after=mark)
            after = counters(port)
            assert {
                name: (value, after.get(name)) for name, value in before.items() if after.get(name, -1) < value
            } == {}
            before = after
        assert samples(port)['spawning_worker_exits_total{cause="signal"}'] == 6


def test_what_a_worker_has_counted_last_is_not_lost_when_it_retires() -> None:
    with Server(*SITE) as server:
        port = status_port(server)
        for _ in range(20):
            fetch(server.port, "/hello")
        assert server.reload()
        wait_counted(port, 'spawning_requests_total{method="GET",status="2xx"}', 20)


def test_without_the_library_there_is_a_sentence_that_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['prometheus_client'] = None\n")
    with Server(*SITE, env={"PYTHONPATH": str(tmp_path)}) as server:
        answer = fetch(status_port(server), "/metrics")
        assert answer.status == 501
        assert (
            answer.text
            == "metrics need prometheus-client, the extra spawning[metrics]: pip install prometheus-client\n"
        )
        assert fetch(status_port(server), "/status.json").status == 200


def test_the_dashboard_asks_for_what_there_is(gate: Gate) -> None:
    """Each metric of its queries is in the real output, with the labels that the query names."""
    dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 10
    with Server(*SITE) as server:
        port = status_port(server)
        fetch(server.port, "/status?code=500")
        fetch(server.port, "/hello")
        wait_counted(port, "spawning_request_duration_seconds_count", 2)
        found = samples(port)
    labels: dict[str, set[str]] = {}
    for name in found:
        bare, _, rest = name.partition("{")
        labels.setdefault(bare, set()).update(re.findall(r"(\w+)=", rest))
    for query in queries:
        for name, selector in re.findall(r"(spawning_\w+)(?:\{([^}]*)\})?", query):
            assert name in labels, query
            for label, value in re.findall(r"(\w+)\s*=\"([^\"$]+)\"", selector):
                assert label in labels[name], query
                assert any(f'{label}="{value}"' in each for each in found if each.startswith(name)), query
        for group in re.findall(r"by \(([^)]*)\)", query):
            known = set().union(*(labels[name] for name in re.findall(r"spawning_\w+", query)))
            assert {each.strip() for each in group.split(",")} <= known | {"instance", "job"}, query


@pytest.mark.parametrize("tags", [(), ("--statsd-tags", "env:live,team:web")])
def test_statsd_gets_what_gunicorns_users_know(tags: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        options = ("--statsd-host", f"127.0.0.1:{receiver.getsockname()[1]}", "--statsd-prefix", "shop", *tags)
        with Server("basics.application", "-s", "1", "-t", "4", "-l", "/dev/null", *options) as server:
            for _ in range(5):
                fetch(server.port, "/hello")
            fetch(server.port, "/status?code=503")
            lines: list[str] = []
            while sum(int(line.split(":")[1].split("|")[0]) for line in lines if ".requests:" in line) < 6:
                lines += receiver.recv(65536).decode().split("\n")
    end = "|#env:live,team:web" if tags else ""
    assert all(
        line.startswith("shop.spawning.") and line.endswith(end) and ("|#" in line) == bool(tags) for line in lines
    )
    bare = [line.removesuffix(end) for line in lines]
    assert "shop.spawning.request.status.503:1|c" in bare
    assert sum(int(line[len("shop.spawning.request.status.200:") : -2]) for line in bare if ".status.200:" in line) == 5
    assert "shop.spawning.workers:1|g" in bare
    durations = [line for line in bare if ".request.duration:" in line]
    assert all(re.fullmatch(r"shop\.spawning\.request\.duration:[\d.]+\|ms(\|@[\d.]+)?", line) for line in durations)
    counted = sum(round(1 / float(line.partition("|@")[2] or 1)) for line in durations)
    assert counted == 6


def test_a_statsd_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    with Server("basics.application", "-s", "1", *STATUS, "--statsd-host", f"unix:{tmp_path}/none") as server:
        server.wait_for_log(r" WARNING StatsD cannot be reached address=unix:\S+ reason=")
        assert fetch(server.port, "/hello").status == 200
        assert status(status_port(server))["ready"] in (True, False)
