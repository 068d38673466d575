"""What is known as plain values: what ``/status.json`` answers (``docs/status.md``)."""

from typing import Any

from spawning.status.hub import View
from spawning.worker.tally import BOUNDS


def described(view: View) -> dict[str, Any]:
    """Return the controller's snapshot, completed by rates, percentiles and memory."""
    values = view.values
    trend = view.trend.as_values()
    rates = trend.pop("workers")
    return {
        **values,
        "age": round(view.age, 3),
        "trend": trend,
        "bounds": list(BOUNDS),
        "memory": sum(view.memory.values()) or None,
        "generations": [
            {
                **generation,
                "memory": view.memory.get(generation["fork_server"]),
                "workers": [
                    {**worker, "rate": rates.get(worker["name"], 0.0), "memory": view.memory.get(worker["pid"])}
                    for worker in generation["workers"]
                ],
            }
            for generation in values["generations"]
        ],
    }
