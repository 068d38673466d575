"""The status service's process: ``interpreter.status(FD)``.

FD is its end of the channel to the controller. It is a worker like those that serve the application, with another
application and one more message to understand. It dies with the controller until it serves; then the end of the channel
tells it.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from threading import Thread
from time import monotonic

from spawning.address import Address, Kind
from spawning.ipc import signals
from spawning.ipc.channel import Channel
from spawning.ipc.messages import BootStatus, Message, Snapshot, Watching
from spawning.ipc.prctl import die_with_parent, outlive_parent
from spawning.ipc.title import setproctitle
from spawning.logs.log import Log
from spawning.logs.setup import configure, start
from spawning.logs.streams import provide
from spawning.net.listeners import bound
from spawning.primitives import open_socket
from spawning.settings import Settings, checked
from spawning.standard import occupy
from spawning.status.app import MOST_STREAMS, StatusApp
from spawning.status.app_metrics import AppMetrics
from spawning.status.covered import Coverage
from spawning.status.hub import Hub
from spawning.status.statsd import Statsd
from spawning.worker.main import Worker

TIDY_EVERY = 60.0  # seconds between looks for what processes of the application have left

log = Log("spawning.status")


class StatusWorker(Worker):
    """A worker that is told how everything is."""

    def __init__(
        self,
        hub: Hub,
        app: StatusApp,
        app_metrics: AppMetrics | None,
        settings: Settings,
        channel: Channel,
        fds: Sequence[int],
    ) -> None:
        sockets = [open_socket(fd, blocking=False) for fd in fds]
        listeners = [(bound(each, Address(Kind.FD)).text, each) for each in sockets]
        super().__init__("status", app, settings, channel, Channel.pair(), listeners, None)
        self._hub = hub
        self._app_metrics = app_metrics
        self._tidy_at = 0.0  # monotonic seconds
        self._handlers[Snapshot] = self._on_snapshot

    def begin(self) -> None:
        """Accept as soon as the loop runs: nobody else has to be ready for it."""
        self._context.post(self._loop.start)

    def _on_snapshot(self, message: Message) -> None:
        assert isinstance(message, Snapshot)
        self._hub.update(message.values)
        if self._app_metrics is not None and monotonic() >= self._tidy_at:
            self._tidy_at = monotonic() + TIDY_EVERY
            self._app_metrics.tidy()

    def _on_stop(self, message: Message) -> None:
        self._hub.close()
        super()._on_stop(message)

    def _on_orphaned(self) -> None:
        self._hub.close()
        super()._on_orphaned()


def main() -> int:
    """Be the status service; return the exit status."""
    die_with_parent()
    provide()
    signals.ignore()
    signals.let_in()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    channel = Channel(open_socket(fd, blocking=True))
    boot, descriptors = channel.receive()
    if not isinstance(boot, BootStatus) or os.getppid() != boot.controller:
        return 0
    settings = checked(boot.settings, environ={})
    configure(settings, boot.zone)
    setproctitle("spawning: status")
    hub = Hub(boot.values, partial(_watch, channel))
    app_metrics = AppMetrics(boot.metrics) if settings.app_metrics else None
    coverage = Coverage(boot.metrics) if settings.coverage else None
    system = boot.metrics if settings.sysinfo else ""
    app = StatusApp(hub, settings.status_token, app_metrics, coverage, system)
    worker = StatusWorker(hub, app, app_metrics, _own_settings(settings), channel, descriptors)
    if settings.statsd_host is not None:
        statsd = Statsd(settings.statsd_host, settings.statsd_prefix, settings.statsd_tags)
        Thread(target=statsd.run, args=(hub,), name="statsd", daemon=True).start()
    occupy()
    start()
    outlive_parent()
    worker.begin()
    return worker.run([])


def _watch(channel: Channel, seconds: float) -> None:
    with contextlib.suppress(BlockingIOError):  # a controller that does not read is told the next time
        channel.send(Watching(seconds))


def _own_settings(settings: Settings) -> Settings:
    """Return those of a small server: little is sent to it, and a few of its clients stay."""
    return Settings(
        args=("status",),
        num_processes=1,
        threadpool_workers=MOST_STREAMS + 8,
        server_header=settings.server_header,
        access_log_file=os.devnull,
        verbose=settings.verbose,
        deadman_timeout=1.0,
        head_timeout=10.0,
        max_head_bytes=16384,
        max_body_bytes=1,
        max_connections=256,
        keepalive_timeout=75.0,
    )


if __name__ == "__main__":
    sys.exit(main())
