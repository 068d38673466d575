"""Ask the status service of a running server."""

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from integration.client import fetch
from integration.server import Server, until

STATUS = ("--status", "127.0.0.1:0", "-l", "/dev/null")
"""Options with which a server has one."""


def status_port(server: Server) -> int:
    """Return the port on which it listens."""
    return int(server.wait_for_log(r" status service started url=http://127\.0\.0\.1:(\d+)/ pid=\d+$")[1])


def status_pid(server: Server, after: int = 0) -> int:
    """Return the pid of the process that was started last behind that line of the log."""
    return int(server.wait_for_log(r" status service started url=\S+ pid=(\d+)$", after=after)[1])


def status(port: int) -> Any:
    """Get ``/status.json``."""
    answer = fetch(port, "/status.json")
    assert (answer.status, answer["content-type"]) == (200, "application/json")
    return json.loads(answer.text)


def samples(port: int) -> dict[str, float]:
    """Get ``/metrics``: each sample by its name and labels, as they stand in the text."""
    answer = fetch(port, "/metrics")
    assert answer.status == 200, answer.text
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for each in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(each.labels.items()))
            found[f"{each.name}{{{labels}}}" if labels else each.name] = each.value
    return found


def counters(port: int) -> dict[str, float]:
    """Get those samples that must never go back."""
    ends = ("_total", "_bucket", "_count", "_sum")
    return {name: value for name, value in samples(port).items() if name.partition("{")[0].endswith(ends)}


def wait_counted(port: int, name: str, value: float) -> None:
    """Wait until a sample is that much: workers report once a second."""
    until(lambda: samples(port).get(name, 0) == value, f"{name} at {value}, found {samples(port).get(name)}")
