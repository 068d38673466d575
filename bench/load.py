"""The load: run ``wrk``, ``ab`` or ``openssl s_time`` against a port of this machine and read what it prints."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.workloads import Workload

SCRIPTS = Path(__file__).parent / "lua"
TIMEOUT_SECONDS = 10
GRACE_SECONDS = 60
"""How much longer than it should a tool may take before it counts as hanging."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a tool saw.

    :param errors: each kind of error with its number; empty when there was none.
    """

    command: str
    requests: int
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    errors: str


class LoadError(Exception):
    """The tool gave no result; the message is the end of its output."""


def run(workload: Workload, port: int, seconds: int, scratch: Path) -> Load:
    """Put the workload on a server.

    :param seconds: how long wrk runs; ab makes the workload's number of requests.
    :param scratch: a directory for the tool's files.
    :raises LoadError: there is no result.
    """
    return _TOOLS[workload.tool](workload, port, seconds, scratch)


def warm_up(workload: Workload, port: int, scratch: Path) -> None:
    """Put the same load on a server for a moment (wrk: one second; ab: a tenth of the requests); nothing is read."""
    command = {
        "wrk": _wrk_command(workload, port, 1),
        "ab": _ab_command(workload, port, workload.requests // 10),
        "s_time": _s_time_command(workload, port, 1),
    }
    _output(command[workload.tool], workload, GRACE_SECONDS)


def versions() -> dict[str, str]:
    """Return the versions of the tools."""
    said = {"wrk": _said(["wrk", "-v"]), "ab": _said(["ab", "-V"]), "openssl": _said(["openssl", "version"])}
    found = {tool: re.search(r"(?:wrk|Version|OpenSSL) (\S+)", text) for tool, text in said.items()}
    return {tool: match[1] if match else "not installed" for tool, match in found.items()}


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _url(workload: Workload, port: int) -> str:
    return f"{'https' if workload.over == 'tls' else 'http'}://127.0.0.1:{port}{workload.path}"


def _output(command: list[str], workload: Workload, timeout: float) -> str:
    variables = {"BENCH_UPLOAD": str(workload.upload), "BENCH_DEPTH": str(workload.depth)}
    environment = {"LUA_PATH": f"{SCRIPTS}/?.lua;;"} | variables
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout, env=os.environ | environment
        )
    except subprocess.TimeoutExpired:
        raise LoadError(f"{command[0]} did not finish within {timeout:g} s") from None
    if done.returncode:
        raise LoadError(f"{command[0]}: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    return done.stdout


def _wrk_command(workload: Workload, port: int, seconds: int) -> list[str]:
    script = SCRIPTS / ("upload.lua" if workload.upload else f"{workload.script}.lua")
    settings = ["-t1", f"-c{workload.connections}", f"-d{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"]
    return ["wrk", *settings, "-s", os.path.relpath(script), _url(workload, port)]


def _wrk(workload: Workload, port: int, seconds: int, scratch: Path) -> Load:
    command = _wrk_command(workload, port, seconds)
    output = _output(command, workload, seconds + GRACE_SECONDS)
    line = next((line for line in output.splitlines() if line.startswith("BENCH ")), None)
    if line is None:
        raise LoadError(f"wrk printed no result: {output[-200:]}")
    found = json.loads(line.removeprefix("BENCH "))
    errors = [f"{found[kind]} {kind}" for kind in ("connect", "read", "write", "status", "timeout") if found[kind]]
    if found["requests"] < workload.connections * workload.depth:  # wrk does not count what is never answered
        errors.append(f"only {found['requests']} answers on {workload.connections} connections")
    return Load(
        command=" ".join(command),
        requests=found["requests"],
        seconds=found["microseconds"] / 1e6,
        p50_ms=found["p50"] / 1e3 or None,  # wrk's percentiles are 0 when its correction has moved values out of range
        p99_ms=found["p99"] / 1e3 or None,
        errors=", ".join(errors),
    )


def _ab_command(workload: Workload, port: int, requests: int, *more: str) -> list[str]:
    return ["ab", "-q", "-c", str(workload.connections), "-n", str(requests), *more, _url(workload, port)]


def _ab(workload: Workload, port: int, seconds: int, scratch: Path) -> Load:
    """Run ab. Its table of percentiles has whole milliseconds only, its file (``-e``) has microseconds."""
    percentiles = scratch / "ab.csv"
    command = _ab_command(workload, port, workload.requests, "-e", str(percentiles))
    output = _output(command, workload, GRACE_SECONDS + workload.requests / 10)
    rows = dict(line.split(",") for line in percentiles.read_text().splitlines()[1:])
    failed, bad_status = _number(output, "Failed requests"), _number(output, "Non-2xx responses")
    errors = [f"{failed:g} failed"] * bool(failed) + [f"{bad_status:g} status"] * bool(bad_status)
    return Load(
        command=" ".join(_ab_command(workload, port, workload.requests)),
        requests=int(_number(output, "Complete requests")),
        seconds=_number(output, "Time taken for tests"),
        p50_ms=float(rows["50"]),
        p99_ms=float(rows["99"]),
        errors=", ".join(errors),
    )


def _number(output: str, label: str) -> float:
    found = re.search(rf"^{re.escape(label)}:\s+([\d.]+)", output, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _s_time_command(workload: Workload, port: int, seconds: int) -> list[str]:
    how = "-reuse" if workload.resumed else "-new"
    return ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", how, "-www", workload.path, "-time", str(seconds)]


def _s_time(workload: Workload, port: int, seconds: int, scratch: Path) -> Load:
    """Run s_time. It prints a letter for each connection: ``r`` where the session went on, another one where not."""
    command = _s_time_command(workload, port, seconds)
    output = _output(command, workload, seconds + GRACE_SECONDS)
    letters = re.findall(r"^[*rtTS]+$", output, re.MULTILINE)
    found = re.findall(
        r"^(\d+) connections in (\d+) real seconds, (\d+) bytes read per connection", output, re.MULTILINE
    )
    if not found or not letters:
        raise LoadError(f"s_time printed no result: {output[-200:]}")
    connections, whole_seconds, size = map(int, found[-1])
    other = sum((letter == "r") != workload.resumed for letter in letters[-1])
    errors = [f"{other} sessions {'anew' if workload.resumed else 'went on'}"] * bool(other)
    errors += ["no answers"] * (not size)
    return Load(
        command=" ".join(command),
        requests=connections,
        seconds=float(whole_seconds),
        p50_ms=None,
        p99_ms=None,
        errors=", ".join(errors),
    )


_TOOLS: dict[str, Callable[[Workload, int, int, Path], Load]] = {"wrk": _wrk, "ab": _ab, "s_time": _s_time}
