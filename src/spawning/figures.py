"""Figures as people read them, on the status page and in a terminal. What is not known is a dash."""

from typing import Any


def count(value: int | None, grouping: str = ",") -> str:
    """Show a number of things: ``1,234``; with another `grouping` between thousands, or none."""
    return "–" if value is None else f"{value:{grouping}}"


def number(value: float) -> str:
    """Show a rate with two or three digits: ``0.68``, ``12.3``, ``1234``, ``12.3 k``."""
    if value >= 10_000:
        return f"{value / 1000:.3g} k"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2g}" if value < 10 else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """Show a time with three digits in its unit: ``71 µs``, ``58.1 ms``, ``2.3 s``."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if value < 0.001:
        return f"{value * 1e6:.3g} µs"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s" if value < 120 else duration(value)


def size(value: int | None) -> str:
    """Show a number of bytes: ``67.7 MiB``."""
    return "–" if not value else f"{value / 2**20:.3g} MiB" if value < 2**30 else f"{value / 2**30:.3g} GiB"


def duration(seconds: float) -> str:
    """Show a duration with its two largest units: ``3 min 4 s``."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


def worker_cells(values: dict[str, Any], rate: float) -> list[str]:
    """Show a worker: name, state, age, requests, requests a second, errors, share of inline ones, busy and idle
    threads, waiting requests, connections.

    :param values: of the worker, as ``status`` answers them.
    :param rate: requests a second.
    """
    threads, requests, inline = (values[name] for name in ("threads", "requests", "inline"))
    known = values["executing"] is not None and threads is not None
    busy = (values["executing"] or 0) + (values.get("tunnels") or 0)
    return [
        values["name"],
        values["state"],
        duration(values["age"]),
        count(requests),
        number(rate),
        count(values["errors"]),
        f"{100 * inline / requests:.0f} %" if requests and inline is not None else "–",
        count(min(busy, threads)) if known else "–",
        count(max(0, threads - busy)) if known else "–",
        count(values["queued"]),
        count(values["connections"]),
    ]
