"""The error log of the real command: its levels, and as JSON."""

import json
import os
import signal

import pytest

from integration.client import Client
from integration.server import DEADLINE, Server, until


def test_in_json_every_line_is_an_object() -> None:
    options = ["-s", "1", "--log-format", "json", "--request-id-header", "X-Request-ID", "-v"]
    with Server("noisy.application", *options, ready=False) as server:
        ready = json.loads(server.err.find('"message":"ready"', DEADLINE).string)
        port = int(ready["url"].rpartition(":")[2])
        assert (ready["workers"], ready["severity"]) == (1, "INFO")
        with_errors = b"environ['wsgi.errors'].write('one\\n'); raise LookupError('on \"purpose\"')"
        with Client(port) as client:
            assert client.post("/do", with_errors, "Connection: close").status == 500
        server.err.find('"message":"application raised"', DEADLINE)
        worker = server.workers()[0].pid
        os.kill(worker, signal.SIGKILL)
        server.err.find('"message":"worker died"', DEADLINE)
        assert server.stop() == 0
        found = [json.loads(line) for line in server.err.since()]
    by_message = {each["message"]: each for each in found}
    assert by_message["one"]["stream"] == "wsgi.errors"
    raised = by_message["application raised"]
    assert (raised["severity"], raised["method"], raised["path"]) == ("ERROR", "POST", "/do")
    assert raised["request_id"]
    assert (raised["exception.type"], raised["process.pid"]) == ("LookupError", worker)
    assert 'on "purpose"' in raised["exception.stacktrace"]
    assert (by_message["worker died"]["pid"], by_message["worker died"]["signal"]) == (worker, "SIGKILL")


def test_a_level_keeps_what_is_below_it_away() -> None:
    with Server("noisy.application", "-s", "1", "--log-level", "error", ready=False) as server:
        until(server.workers, "a worker")
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: [each for each in server.workers() if each.generation == 2], "a reload")
        assert server.stop() == 0
        assert server.err.since() == []


@pytest.mark.parametrize("level", ["debug", "DEBUG"])
def test_details_have_a_level(level: str) -> None:
    with Server("noisy.application", "-s", "1", "--log-level", level) as server:
        server.signal(signal.SIGTERM)
        server.wait_for_log(" DEBUG fork server ended ")
