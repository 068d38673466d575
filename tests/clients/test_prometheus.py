"""Prometheus itself reads ``/metrics``, and answers the queries of the dashboard."""

import json
import os
import signal
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clients.programs import program, run
from integration.client import Client, fetch
from integration.ports import free_port
from integration.server import DEADLINE, Server, until
from integration.status import STATUS, status_port, wait_counted

SITE = ("basics.application", "-s", "2", "-t", "4", *STATUS)
DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana-dashboard.json"
SCRAPES = 60  # a minute of them
PATIENCE = 240.0  # seconds, on a loaded machine

CONFIGURATION = """\
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: spawning
    static_configs: [{{ targets: ["127.0.0.1:{port}"] }}]
"""


def test_promtool_has_no_complaint() -> None:
    with Server(*SITE) as server:
        port = status_port(server)
        fetch(server.port, "/status?code=404")
        wait_counted(port, "spawning_request_duration_seconds_count", 1)
        assert run("promtool", "check", "metrics", data=fetch(port, "/metrics").body) == b""


@contextmanager
def prometheus(directory: Path, port: int) -> Iterator[int]:
    """Run one that scrapes a port each second; give its own port."""
    (directory / "prometheus.yml").write_text(CONFIGURATION.format(port=port))
    own = free_port()
    command = [
        program("prometheus"), f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{own}",
    ]  # fmt: skip
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield own
        finally:
            process.terminate()
            process.wait(DEADLINE)


def query(port: int, expression: str) -> Any:
    """Return the result; nothing while it starts."""
    try:
        answer = fetch(port, f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    except OSError:  # it has not started yet
        return []
    if answer.status != 200:
        return []
    return json.loads(answer.text)["data"]["result"]


def test_it_scrapes_for_a_minute_and_answers_every_query_of_the_dashboard(tmp_path: Path) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    with Server(*SITE) as server, prometheus(tmp_path, status_port(server)) as port:

        def answered() -> bool:
            with Client(server.port) as client:
                for target in ("/hello", "/status?code=500"):
                    client.get(target)
            return bool(query(port, "rate(spawning_requests_total{status='5xx'}[30s]) > 0"))

        until(answered, f"requests counted by Prometheus: {(tmp_path / 'log').read_text()[-2000:]}", PATIENCE)
        for each in queries:
            expression = each.replace("$instance", ".*").replace("$__rate_interval", "30s")
            assert query(port, expression) != [], expression
        (up,) = query(port, "min_over_time(up[1h])")
        assert up["value"][1] == "1"
        assert server.reload()
        os.kill(next(each.pid for each in server.workers() if each.generation == 2), signal.SIGKILL)
        server.wait_for_log(r" worker died worker=2\.")

        def scraped() -> bool:
            fetch(server.port, "/hello")
            return bool(query(port, f"count_over_time(up[10m]) >= {SCRAPES}"))

        until(scraped, f"{SCRAPES} scrapes", PATIENCE)
        assert query(port, "min_over_time(up[10m]) < 1") == [], "a scrape has failed"
        assert query(port, "resets(spawning_requests_total[10m]) > 0") == [], "a counter has gone back"
        (served,) = query(port, "sum(increase(spawning_requests_total[10m])) > 60")
        assert served
