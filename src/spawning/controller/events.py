"""What happens to the controller, as entries of its queue; a question to it is ``control.Asked``, an exit a
``process.Exit``.
"""

from dataclasses import dataclass

from spawning.controller.records import Source
from spawning.ipc.messages import Message


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal has arrived."""

    number: int


@dataclass(frozen=True, slots=True)
class Said:
    """A fork server or worker has said something; None is the end of its channel."""

    source: Source
    message: Message | None


@dataclass(frozen=True, slots=True)
class Changed:
    """Watched files have changed."""

    files: list[str]


@dataclass(frozen=True, slots=True)
class Committed:
    """Another commit of the application's repository is checked out."""

    before: str
    commit: str
