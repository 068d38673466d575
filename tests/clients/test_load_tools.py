"""The tools that people measure servers with: every request of theirs succeeds, on connections kept or not."""

import json
import re
from pathlib import Path

import pytest

from clients.programs import run
from integration.server import Server

# 100,000 bytes do not fit into one packet; the stream is chunked.
TARGETS = ["/hello", "/repeat?bytes=100000", "/stream"]

REPORT = """\
done = function(summary)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('{"requests": %d, "errors": %d}\\n', summary.requests, errors))
end
"""


def number(name: str, out: str) -> int:
    """Return the number behind ``name:``; 0 if there is no such line (ab leaves out what did not happen)."""
    found = re.search(rf"^\s*{name}:\s+(\d+)", out, re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("options", [[], ["-k"], ["-k", "-i"]], ids=["close", "keep", "head"])
def test_ab(basics: Server, target: str, options: list[str]) -> None:
    out = run("ab", "-q", *options, "-n", "500", "-c", "10", f"{basics.url}{target}").decode()
    assert (number("Complete requests", out), number("Failed requests", out)) == (500, 0)
    assert number("Non-2xx responses", out) == 0
    kept = "-k" in options and target != "/stream"  # ab speaks HTTP/1.0: a stream ends with its connection there
    assert number("Keep-Alive requests", out) == (500 if kept else 0)


def test_ab_with_a_body(basics: Server, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(150_000))  # more than is kept in memory
    options = ["-q", "-k", "-n", "100", "-c", "5", "-T", "application/octet-stream"]
    out = run("ab", *options, "-p", tmp_path / "body", f"{basics.url}/echo").decode()
    assert (number("Complete requests", out), number("Failed requests", out)) == (100, 0)
    assert number("HTML transferred", out) == 100 * 150_000


@pytest.mark.parametrize("target", TARGETS)
def test_wrk(basics: Server, target: str, tmp_path: Path) -> None:
    (tmp_path / "report.lua").write_text(REPORT)
    out = run("wrk", "-t", "1", "-c", "10", "-d", "1s", "-s", tmp_path / "report.lua", f"{basics.url}{target}")
    told = json.loads(out.splitlines()[-1])
    assert told["errors"] == 0
    assert told["requests"] > 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("streams", [1, 8], ids=["one by one", "pipelined"])
def test_h2load_with_http_1(basics: Server, target: str, streams: int) -> None:
    options = ["--h1", "-n", "400", "-c", "8", "-m", str(streams)]
    out = run("h2load", *options, f"{basics.url}{target}").decode()
    assert "400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert "status codes: 400 2xx" in out
