"""``/metrics``: the counts as Prometheus and OpenMetrics take them, by ``prometheus-client`` (extra ``metrics``).

Names, units and types follow https://prometheus.io/docs/practices/naming/; they are listed in ``docs/metrics.md``.
Every counter is there from the beginning, so that a rate sees its first increase.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from spawning.status.app_metrics import AppMetrics
from spawning.status.hub import View
from spawning.worker.tally import BOUNDS

_RESULTS = ("finished", "refused", "abandoned")
_CAUSES = ("retired", "killed", "signal", "status", "unknown")
_LOGS = ("access", "error")
_STATES = ("starting", "ready", "serving", "retiring", "frozen", "killed")

Values = dict[str, Any]


def exposition(view: View, memory: Mapping[int, int], application: AppMetrics | None, accept: str) -> tuple[str, bytes]:
    """Return media type and content.

    :param memory: pid to bytes (PSS).
    :param application: its own metrics, if they are wanted.
    :param accept: the request's Accept field; empty if it has none.
    :raises ModuleNotFoundError: prometheus-client is missing.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(view, memory, application))
    encode, kind = choose_encoder(accept)
    return kind, encode(registry)


class _Families:
    """A collector: everything is told in one moment."""

    def __init__(self, view: View, memory: Mapping[int, int], application: AppMetrics | None) -> None:
        self._view = view
        self._application = application
        self._memory = memory

    def collect(self) -> Iterator[Any]:
        values = self._view.values
        workers = [worker for generation in values["generations"] for worker in generation["workers"]]
        yield from _service(values, self._view.age)
        yield from _requests(values["totals"])
        yield from _durations(values["totals"])
        yield from _now(values, workers)
        yield from _events(values["totals"])
        yield from _memory(values, self._memory)
        if self._application is not None:
            idle = (each["fork_server"] for each in values["generations"] if each["state"] != "serving")
            yield from self._application.collect(pid for pid in idle if pid)


def _gauge(name: str, text: str, labels: Iterable[str], rows: Iterable[tuple[Iterable[str], float | None]]) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(f"spawning_{name}", text, labels=list(labels)), rows)


def _counter(name: str, text: str, labels: Iterable[str], rows: Iterable[tuple[Iterable[str], float | None]]) -> Any:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(f"spawning_{name}", text, labels=list(labels)), rows)


def _filled(family: Any, rows: Iterable[tuple[Iterable[str], float | None]]) -> Any:
    add: Callable[[list[str], float], None] = family.add_metric
    for labels, value in rows:
        if value is not None:
            add(list(labels), value)
    return family


def _one(value: float | None) -> list[tuple[tuple[str, ...], float | None]]:
    return [((), value)]


def _service(values: Values, age: float) -> Iterator[Any]:
    from prometheus_client.core import InfoMetricFamily

    build = InfoMetricFamily("spawning_build", "The running Spawning.")
    build.add_metric([], {"version": values["version"], "python": values["python"]})
    yield build
    started = values["at"] - values["uptime"]
    yield _gauge("start_time_seconds", "When the controller's program was started, since the epoch.", (), _one(started))
    yield _gauge("ready", "Whether new clients are welcome (1), as /readyz says.", (), _one(int(values["ready"])))
    yield _gauge("generation", "Number of the generation that serves.", (), _one(values["serving"] or 0))
    yield _gauge("snapshot_age_seconds", "Since the controller has told what is here.", (), _one(age))


def _requests(totals: Values) -> Iterator[Any]:
    classes: dict[tuple[str, str], int] = {}
    for method, statuses in totals["statuses"].items():
        for status, count in statuses.items():
            key = method, f"{status[0]}xx" if status != "0" else "none"
            classes[key] = classes.get(key, 0) + count
    text = "Responses by method and class of status; none: the connection was cut before."
    yield _counter("requests", text, ("method", "status"), sorted(classes.items()))
    text = "Requests that the event loop has executed itself, without a thread."
    yield _counter("requests_inline", text, (), _one(totals["inline"]))
    text = "What was refused before it was a request: malformed, against a limit, too slow."
    yield _counter("requests_refused", text, (), _one(totals["refused"]))
    yield _counter("response_body_bytes", "Content sent, without heads.", (), _one(totals["sent"]))


def _durations(totals: Values) -> Iterator[Any]:
    latency, queue = totals["latency"], totals["queue"]
    text = "From the call of the application to the end of its response."
    yield _histogram("request_duration_seconds", text, _full(latency["counts"]), latency["seconds"])
    waits = _full(queue["counts"])
    waits[0] += totals["prompt"]
    text = "How long requests have waited for a free thread."
    yield _histogram("request_queue_seconds", text, waits, queue["seconds"])


def _full(counts: list[int]) -> list[int]:
    return [*counts, *[0] * (len(BOUNDS) + 1 - len(counts))]


def _histogram(name: str, text: str, counts: list[int], seconds: float) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    ends = [*(str(bound) for bound in BOUNDS), "+Inf"]
    family = HistogramMetricFamily(f"spawning_{name}", text)
    family.add_metric([], list(zip(ends, accumulate(counts), strict=True)), seconds)
    return family


def _now(values: Values, workers: list[Values]) -> Iterator[Any]:
    def total(name: str) -> int:
        return sum(worker[name] or 0 for worker in workers)

    busy = sum(
        min((worker["executing"] or 0) + (worker.get("tunnels") or 0), worker["threads"] or 0) for worker in workers
    )
    tunnels = sum(worker.get("tunnels") or 0 for worker in workers)
    flight = [(("executing",), total("executing")), (("queued",), total("queued")), (("tunnel",), tunnels)]
    text = "Requests that are executed, or wait for a thread, or have taken their connection."
    yield _gauge("requests_in_flight", text, ("state",), flight)
    states = [((state,), sum(worker["state"] == state for worker in workers)) for state in _STATES]
    yield _gauge("workers", "Workers by state.", ("state",), states)
    yield _gauge("workers_wanted", "Workers that there should be.", (), _one(values["workers_wanted"] or 0))
    threads = [(("busy",), busy), (("idle",), total("threads") - busy)]
    what = "Request threads, or greenlets, that there are; one a worker leads its event loop."
    yield _gauge("threads", what, ("state",), threads)
    settings = values["settings"]
    limit = (settings.get("threadpool_workers") or settings.get("max_green", 0)) * (values["workers_wanted"] or 0)
    yield _gauge("threads_limit", "Request threads, or greenlets, that there may be.", (), _one(limit))
    yield _gauge("connections", "Open connections.", (), _one(total("connections")))
    listeners = values["listeners"]
    backlog = [((each["address"],), each["backlog"]) for each in listeners]
    yield _gauge("listener_backlog", "Connections that wait to be accepted.", ("address",), backlog)
    most = [((each["address"],), each["most"]) for each in listeners]
    yield _gauge("listener_backlog_limit", "Connections that may wait to be accepted.", ("address",), most)

    ends = [((each["file"],), each["ends"]) for each in values["certificates"]]
    text = "When the certificates that are served cease to be valid, seconds since the epoch."
    yield _gauge("certificate_expiry_timestamp_seconds", text, ("file",), ends)


def _events(totals: Values) -> Iterator[Any]:
    yield _counted("worker_exits", "Workers that have exited, by cause.", "cause", _CAUSES, totals["exits"])
    yield _counted("reloads", "Reloads, by result.", "result", _RESULTS, totals["reloads"])
    yield _counted("log_lines_lost", "Lines that a log could not take.", "log", _LOGS, totals["lost"])


def _counted(name: str, text: str, label: str, known: Iterable[str], counts: Mapping[str, int]) -> Any:
    return _counter(name, text, (label,), [((each,), counts.get(each, 0)) for each in known])


def _memory(values: Values, memory: Mapping[int, int]) -> Iterator[Any]:
    generations = values["generations"]
    pids = {
        "controller": [values["pid"]],
        "fork_server": [generation["fork_server"] for generation in generations],
        "worker": [worker["pid"] for generation in generations for worker in generation["workers"]],
    }
    sizes = [((role,), sum(memory.get(pid, 0) for pid in each if pid)) for role, each in pids.items()]
    text = "Memory by kind of process, as proportional set size: shared pages count in parts."
    yield _gauge("memory_pss_bytes", text, ("process",), sizes)
