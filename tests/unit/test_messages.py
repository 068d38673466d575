import dataclasses
import json

import pytest

from spawning.ipc.messages import (
    AskDetails,
    Boot,
    Born,
    Configured,
    Details,
    ForkWorker,
    Frozen,
    Loaded,
    LoadFailed,
    Message,
    Ready,
    ReopenLog,
    Report,
    Retire,
    Start,
    Stop,
    Unwell,
    decode,
    encode,
)

EACH: list[Message] = [
    Boot(7, {"args": ["site:app"], "port": 8080, "pidfile": None}, 12.5, "/srv/site", 4711),
    ForkWorker(2),
    Configured({"deadman_timeout": 1.5}),
    Loaded(["/a/ü.py"], ["Thread-1"]),
    LoadFailed("app", "it does not import", "Traceback …\n", ["/a/b.py"]),
    Start(),
    Retire(120.0),
    Stop(0.5),
    ReopenLog(),
    AskDetails(1, True),
    Born(4711),
    Ready(),
    Frozen(),
    Report(requests=10, errors=1, executing=2, queued=3, connections=4),
    Unwell("a request is stuck"),
    Details(1, [{"thread": "request thread 1", "seconds": 0.25}], {"request thread 1": "File …\n"}),
]


@pytest.mark.parametrize("message", EACH, ids=lambda message: type(message).__name__)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("message", EACH, ids=lambda message: type(message).__name__)
def test_a_message_is_one_line_of_json_that_names_its_type(message: Message) -> None:
    data = encode(message)
    assert b"\n" not in data
    assert json.loads(data)[""] == type(message).__name__


def test_messages_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Born(1).pid = 2  # type: ignore[misc]


def test_a_field_of_another_version_is_ignored() -> None:
    assert decode(b'{"":"Born","pid":1,"of_tomorrow":2}') == Born(1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"\xff",
        b"[]",
        b"{}",
        b'{"":"Unknown"}',
        b'{"":"Born"}',
        b'{"":[],"pid":1}',
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a message|Expecting|decode"):
        decode(data)
