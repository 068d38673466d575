"""What everybody in a worker needs and nobody owns: the time, the settings, a few flags and counters, the mail.

Rules: plain attributes, no decisions. Who writes what is said at each attribute; everybody may read all of them, from
any thread: each is one object that is replaced whole. Nothing of the worker is imported here but leaves.
"""

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final

from spawning.http.limits import Limits
from spawning.http.response import Clock
from spawning.ipc.fence import NEVER
from spawning.logs.access import AccessLog
from spawning.settings import Settings
from spawning.worker.disconnected import Disconnects
from spawning.worker.mail import Mail
from spawning.worker.output import Budget
from spawning.worker.roles import Dispatcher, Leaver, Registry
from spawning.worker.syscalls import Receiver
from spawning.worker.tally import tally

READ_SIZE: Final = 65536  # bytes a recv


class Context:
    """See the module.

    :param settings: of the generation.
    :param access_log: what the requests get their entries from; None: they get no line.

    :ivar now: (monotonic seconds) of the last poll, or of a measured call since then; leader.
    :ivar polled: (monotonic seconds) the last poll: since then the clients have had their turns; leader.
    :ivar idle_deadline: (monotonic seconds) until when a connection that is idle from now on is kept; leader.
    :ivar keep_alive: connections may persist; leader.
    :ivar closing: the worker has been retired or stopped; leader.
    :ivar stopping: the worker has been stopped; leader.
    :ivar contended: threads want the interpreter lock, since requests have been handed over a moment ago; leader.
    :ivar full: as many requests are executed as there may be (``threads``, under its lock). Only the leader, which
        alone may have more executed, may rely on False.
    :ivar crowded: the leader leaves new connections to the siblings until a thread is idle; leader.
    :ivar fence: whose turn it is to serve (``ipc/fence.py``): the number of a term; the controller.
    :ivar term: that of this worker; main thread, before the worker accepts.
    :ivar errors: responses with status 5xx, but those in the tally; any thread, so at worst a few are not counted.
    :ivar tunnels_told: (monotonic seconds) when the log was told last that there are too many tunnels; any thread.
    :ivar refused: requests that were refused as no HTTP, or as against a limit; likewise.
    :ivar ferries: TLS sessions of connections that others serve (``ferry``); leader.
    :ivar tally: what is counted for the metrics, if somebody wants them; any thread.
    :ivar disconnects: what requests want to have called when their clients go; any thread.
    :ivar receiver: receives without giving the interpreter lock away; leader.
    :ivar mail: what the leader is asked to do.
    :ivar poller: reports events of connections.
    :ivar dispatcher: has requests executed.
    :ivar hand_off: sends a frozen connection to a worker that serves.
    :ivar stand_back: retires the worker, which has been succeeded without having been told yet.
    :ivar budget: memory for what slow clients have not taken yet.
    """

    poller: Registry
    dispatcher: Dispatcher
    hand_off: Callable[[Leaver], None]
    stand_back: Callable[[], object]

    def __init__(self, settings: Settings, access_log: AccessLog | None) -> None:
        self.settings = settings
        self.access_log = access_log
        self.clock = Clock(settings.server_header)
        self.limits = Limits(
            settings.max_request_line,
            settings.max_head_bytes,
            settings.max_fields,
            settings.max_body_bytes,
            settings.allow_connect,
        )
        self.mail = Mail()
        self.post = self.mail.post
        self.receiver = Receiver(READ_SIZE)
        self.budget = Budget(settings.max_kept_output)
        self.now = self.polled = monotonic()
        self.idle_deadline = self.now + settings.keepalive_timeout
        self.keep_alive = not settings.no_keepalive and settings.keepalive_timeout > 0
        self.closing = False
        self.stopping = False
        self.contended = False
        self.full = False
        self.crowded = False
        self.fence = NEVER
        self.term = 0
        self.errors = 0
        self.tunnels_told = -inf
        self.refused = 0
        self.ferries = 0
        self.tally = tally(settings)
        self.disconnects = Disconnects()
