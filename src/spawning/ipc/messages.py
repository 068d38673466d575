"""The whole conversation between controller, fork servers and workers.

Each message is a frozen dataclass, one line of JSON, one datagram of a ``SOCK_SEQPACKET`` socketpair
(``ipc/channel.py``). File descriptors travel beside a message; its docstring says which.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Final

# Controller to fork server -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Import what is not the application's, and wait for :class:`Boot`, which may never come."""


@dataclass(frozen=True, slots=True)
class Boot:
    """Load generation `generation`: run the factory with `settings` (plain values, see ``settings.as_dict``).

    `started_at` is when its time to boot began (seconds of the machine's monotonic clock), `directory` the name of the
    directory to do it in, `controller` the pid of who sends this, whom workers are to be adopted by. With `same`
    nothing may be loaded but files that are as they were then: file to stamp (``stamps.py``), none if nobody knows.
    `zone` is the time zone of the log (``logs/zone.py``; empty: the process's own), `metrics` the directory for
    ``--app-metrics``, ``--coverage`` and ``--sysinfo``, `sources` where settings were said (``settings/sources.py``).
    """

    generation: int
    settings: dict[str, Any]
    started_at: float
    directory: str
    controller: int
    same: dict[str, str] | None = None
    zone: list[list[int]] = field(default_factory=list)
    metrics: str = ""
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForkWorker:
    """Fork worker `worker`. Beside it: the worker's end of its channel, the sending and the receiving end of
    the handoff socket, then the listening sockets in order. `listeners` are their addresses as text (``address.py``),
    by which workers of all generations know them (none from a controller of an earlier version).

    `hands_log` says that the worker is given its access log over its own channel (:class:`ReopenLog`) and need not open
    it."""

    worker: int
    hands_log: bool = False
    listeners: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """Call the functions for that (``lifecycle.on_worker_gone``): the worker that was process `pid` has exited. Only to
    a fork server that has said that it has any (:class:`Loaded`)."""

    pid: int


# Fork server to controller -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Configured:
    """The factory's ``config_factory`` has run; `settings` are the plain values it gave back (known names only)."""

    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The application is imported, checked and frozen (with --no-preload: the factory is known); forking may begin.

    `files` are the files behind ``sys.modules``, for the watcher; `threads` names threads started during the import,
    `connections` the peers of connections that were opened then and are open; `stamps` says of each file, in the same
    order, what it was like. `trees` are directories that are to be watched as well, with all that is below them (of
    templates), `unwatched` those below watched ones of which nothing counts. `told_of_exits` asks for
    :class:`WorkerGone`.
    """

    files: list[str] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    stamps: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    unwatched: list[str] = field(default_factory=list)
    told_of_exits: bool = False


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The application or the configuration cannot be loaded (from a fork server, or a worker with --no-preload).

    `kind` is ``"app"``, ``"config"`` or ``"changed"`` (see :class:`Boot`), `message` one line, `details` the
    application's traceback or empty,
    `files` the files behind ``sys.modules`` at that time, for the watcher, `readable` what ``--reload dev`` shows in
    place of `details`, or empty.
    """

    kind: str
    message: str
    details: str = ""
    files: list[str] = field(default_factory=list)
    readable: str = ""


# Controller and status service ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BootStatus:
    """Be the status service. Beside it: its listening sockets.

    `settings` are plain values (``settings.as_dict``), `controller` is the pid of who sends this, `zone` the time zone
    of the log, `values` how everything is now (as :class:`Snapshot`), `metrics` the directory of :class:`Boot`.
    """

    settings: dict[str, Any]
    controller: int
    zone: list[list[int]]
    values: dict[str, Any]
    metrics: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How everything is (``controller/snapshot.py``)."""

    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Watching:
    """Somebody looks, for the next `seconds`: tell what the threads of the workers are doing, too."""

    seconds: float


# Controller to worker ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Begin to accept, in term `term`. Beside it: the page of the fence (``ipc/fence.py``), and, if TLS is spoken, the
    file of certificates (``net/identity.py``); `tickets` are the keys of session tickets (``net/tickets.py``), as
    text, or empty.
    """

    term: int = 0
    tickets: str = ""


@dataclass(frozen=True, slots=True)
class Renew:
    """Use other certificates, in the file beside this, and other keys of session tickets, as in :class:`Start`."""

    tickets: str = ""


@dataclass(frozen=True, slots=True)
class Retire:
    """A newer generation serves from now on: stop accepting, answer :class:`Frozen`, finish within `seconds`, exit.
    While there are ferries (``worker/ferry.py``), `ferrying` seconds more.
    """

    seconds: float
    ferrying: float = 0.0


@dataclass(frozen=True, slots=True)
class Announce:
    """The service will end: serve on, but tell clients so, and answer ``--ready-path`` with 503."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The service ends: accept what the backlog holds, finish within `seconds`, exit."""

    seconds: float


@dataclass(frozen=True, slots=True)
class EndStreams:
    """Do not wait for event streams, which have no end of their own: they are to be reopened elsewhere, or somebody at
    a terminal waits. To a worker that was told to leave."""


@dataclass(frozen=True, slots=True)
class ReopenLog:
    """Write the access log to the file beside this from now on: it is the first one, or the one before was rotated.
    Without a file (from a controller of an earlier version): open it anew."""


OWN_QUESTION: Final = 0  # number of what the controller asks for itself; those of clients begin with 1


@dataclass(frozen=True, slots=True)
class ReopenStream:
    """Have `stream` (1 is stdout, 2 stderr) be the file beside this from now on. To fork servers as well."""

    stream: int


@dataclass(frozen=True, slots=True)
class AskDetails:
    """Answer with :class:`Details`; `question` is its number, `stacks` asks for the stacks of all threads too."""

    question: int
    stacks: bool


@dataclass(frozen=True, slots=True)
class OpenConsole:
    """Open a console for the person at the other end of the connection beside this (``ipc/control.py``)."""


# Worker to controller ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Born:
    """First word of a worker: its process id (its parent by fork cannot tell: it has exited)."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Able to serve, not yet accepting. `files` as in :class:`Loaded` (only with --no-preload)."""

    files: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    """Has stopped accepting; sent once after :class:`Retire` or :class:`Stop`."""


@dataclass(frozen=True, slots=True)
class Report:
    """Once a second: totals since birth, and what is under way.

    Of the totals: `requests` were executed, `inline` of them by the leader; `errors` are responses with status 5xx;
    `refused` were answered without being executed: no HTTP, or against a limit; `lost` is log to lines that could not
    be written. `threads` are the request threads that there are; `tunnels` are requests that hold one of them and are
    not among those `executing`. The rest is counted for the metrics only (``worker/tally.py``): `statuses` is method to
    status to responses; `latency` and `waits` are histograms, `seconds` and `waited` the times in total, `prompt` the
    requests that have not had to wait, `sent` bytes of content.
    """

    requests: int
    errors: int
    executing: int
    queued: int
    connections: int
    inline: int = 0
    refused: int = 0
    threads: int = 0
    tunnels: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)
    latency: list[int] = field(default_factory=list)
    seconds: float = 0.0
    waits: list[int] = field(default_factory=list)
    waited: float = 0.0
    prompt: int = 0
    sent: int = 0
    ferries: int = 0


@dataclass(frozen=True, slots=True)
class Details:
    """What the threads are doing now, the answer to :class:`AskDetails`.

    `requests` has a dictionary for each request being executed: ``thread``, ``method``, ``path``, ``address`` of the
    client, ``seconds`` since it began, and ``tunnel``, whether it has taken its connection; `stacks` is the name of
    each thread of the process to its stack, a text.
    """

    question: int
    requests: list[dict[str, Any]]
    stacks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unwell:
    """Serves, but should be replaced; `reason` is for the log. Somebody may have sent it SIGTERM: one that reaches the
    whole process group is the controller's business, which then does not replace anybody.
    """

    reason: str


# Worker to worker, over the handoff socket ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Handoff:
    """A connection between two requests for whichever worker takes it. Beside it: the connected socket.

    `address` and `port` are the peer's; `deadline` (seconds of the machine's monotonic clock) is when it has been idle,
    or the head on its way, for too long; `family` is that of the socket; `unread` are the bytes of further requests
    that were received and not interpreted, one character an octet; `listener` is the address of the listener that the
    connection came from, as text, and `environ` what environs say of this connection beside that; `fresh` is one of
    which nothing has been interpreted since it was accepted, not even a PROXY header; `ferried` is one whose session of
    TLS stays where it is, and `term` then that of the worker that has sent it (``ipc/fence.py``).
    """

    address: str
    port: str
    family: int
    deadline: float
    unread: str = ""
    listener: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    fresh: bool = False
    ferried: bool = False
    term: int = 0


Message = (
    Prepare
    | Boot
    | BootStatus
    | Snapshot
    | Watching
    | ForkWorker
    | WorkerGone
    | Configured
    | Loaded
    | LoadFailed
    | Start
    | Renew
    | Retire
    | Announce
    | Stop
    | EndStreams
    | ReopenLog
    | ReopenStream
    | AskDetails
    | OpenConsole
    | Born
    | Ready
    | Frozen
    | Report
    | Details
    | Unwell
    | Handoff
)

_TYPES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        Prepare, Boot, BootStatus, Snapshot, Watching, ForkWorker, WorkerGone, Configured, Loaded, LoadFailed, Start,
        Renew, Retire, Announce, Stop, EndStreams, ReopenLog, ReopenStream, AskDetails, OpenConsole, Born, Ready,
        Frozen, Report, Details, Unwell, Handoff,
    )
}  # fmt: skip


def encode(message: Message) -> bytes:
    """Return the message as one line of JSON, UTF-8: ``{"": "Born", "pid": 17}``."""
    values = {item.name: getattr(message, item.name) for item in dataclasses.fields(message)}
    return json.dumps({"": type(message).__name__, **values}, separators=(",", ":")).encode()


def decode(data: bytes) -> Message:
    """Read what :func:`encode` wrote.

    After an upgrade in place the two ends are of different versions: a field that this one does not know is ignored,
    one that the other did not know has its default.

    :raises ValueError: not a message, or none of this version's.
    """
    try:
        values = json.loads(data)
        kind = _TYPES[values.pop("")]
        message: Message = kind(**{name: value for name, value in values.items() if name in kind.__dataclass_fields__})
    except (AttributeError, KeyError, RecursionError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a message: {data[:80]!r}") from error
    return message
