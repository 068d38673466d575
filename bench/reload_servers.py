"""The servers of ``bench/reload.py``: to add one, add a line.

A row says how a server is started, and what its own manual says for a reload, for recycling workers and for an upgrade.
What it has no way to do is said too, so that no row of the results is missing without a reason. Placeholders of a
command: ``{bin}`` (the directory with the servers' commands), ``{listen}`` (``tcp``, ``unix`` or ``tls`` of the row, in
which ``{port}``, ``{socket}``, ``{certificate}`` and ``{key}`` are replaced) and ``{pidfile}``. Each is run over
TCP and, if it can, as ``NAME-unix`` over a Unix socket, and as ``NAME-tls`` over TLS. All run two workers with
four threads each (waitress: one process, it has no more) and a keep-alive time longer than a case.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One row of the table.

    :param name: what ``--servers`` calls it.
    :param command: how it is started; see the placeholders above.
    :param tcp: the options that have it listen on a port.
    :param unix: the options that have it listen on a Unix socket; empty when it cannot.
    :param tls: the options that have it speak TLS on a port; empty when it cannot.
    :param inherited: the options that have it use a socket of a service manager; empty: the others do not matter
        then.
    :param inherited_tls: those that are added to have it speak TLS there.
    :param on_unix: it is to listen on a Unix socket.
    :param on_tls: it is to speak TLS.
    :param package: the distribution whose version is shown.
    :param reload: the signal that asks for a reload.
    :param recycle: what is appended to the command for case 4; empty when it cannot recycle workers.
    :param upgrade: the signal that asks for an upgrade in place; empty when there is none.
    :param second_master: an upgrade starts a second master process beside the first, which is then to be ended.
    :param worker: what the command line of a worker contains; empty: every direct child is one.
    :param fork_server: the same of what loads the application for the workers; empty when there is no such process.
    :param activated: a service manager gives it a listening socket (``LISTEN_FDS``).
    :param note: what a reader of the results should know.
    """

    name: str
    command: str
    tcp: str = ""
    unix: str = ""
    tls: str = ""
    inherited: str = ""
    inherited_tls: str = ""
    on_unix: bool = False
    on_tls: bool = False
    package: str = ""
    reload: str = "HUP"
    recycle: str = ""
    upgrade: str = ""
    second_master: bool = False
    worker: str = ""
    fork_server: str = ""
    activated: bool = False
    note: str = ""

    def over_unix(self) -> "Server":
        """Return the same server on a Unix socket."""
        return replace(self, name=f"{self.name}-unix", on_unix=True, note="")

    def over_tls(self) -> "Server":
        """Return the same server on a port where it speaks TLS."""
        return replace(self, name=f"{self.name}-tls", on_tls=True, note="")

    def cannot(self, case: str) -> str:
        """Return why a case cannot be run; empty when it can."""
        if case == "4" and not self.recycle:
            return "does not recycle workers"
        if case == "7" and not self.upgrade:
            return "has no upgrade in place"
        return ""


_ROWS = (
    Server(name="spawning", package="spawning", recycle="--max-requests 500", upgrade="USR2",
           worker="spawning: worker ", fork_server="spawning: fork server ", activated=True,
           command="{bin}/spawn site_app:application {listen} -s 2 -t 4 -l /dev/null",
           tcp="-p {port}", unix="-b unix:{socket}", inherited="-b systemd:",
           inherited_tls="--certfile {certificate} --keyfile {key}",
           tls="-p {port} --certfile {certificate} --keyfile {key}"),
    Server(name="gunicorn", package="gunicorn", recycle="--max-requests 500", upgrade="USR2", second_master=True,
           activated=True, note="gthread; an upgrade is USR2, then TERM for the old master, as its manual says",
           command="{bin}/gunicorn -k gthread -w 2 --threads 4 {listen} --keep-alive 75 --pid {pidfile}"
                   " --log-level warning site_app:application",
           tcp="-b 127.0.0.1:{port}", unix="-b unix:{socket}",
           tls="-b 127.0.0.1:{port} --certfile {certificate} --keyfile {key}"),
    Server(name="granian", package="granian", note="recycling by --workers-max-rss; what dies comes back only with"
           " --respawn-failed-workers",
           recycle="--workers-max-rss 1 --rss-sample-interval 1",
           command="{bin}/granian --interface wsgi {listen} --workers 2 --blocking-threads 4"
                   " --respawn-failed-workers --respawn-interval 0.1 --no-ws --log-level warning"
                   " site_app:application",
           tcp="--host 127.0.0.1 --port {port}", unix="--uds {socket}",
           tls="--host 127.0.0.1 --port {port} --ssl-certificate {certificate} --ssl-keyfile {key}"),
    Server(name="uwsgi", package="uwsgi", recycle="--max-requests 500", upgrade="HUP",
           note="http11-socket, and over TLS its router; it does not answer pipelined requests, waits in a reload for"
           " kept-alive connections (4 s), and HUP executes the binary anew, so a reload is an upgrade",
           command="{bin}/uwsgi --master --enable-threads --processes 2 --threads 4 {listen}"
                   " --listen 128 --disable-logging --die-on-term --wsgi site_app:application",
           tcp="--http11-socket 127.0.0.1:{port}", unix="--http11-socket {socket}",
           tls="--https 127.0.0.1:{port},{certificate},{key} --http-keepalive=75"),
    Server(name="waitress", package="waitress",
           note="cannot reload; hupper starts it anew, and is meant for development",
           command="{bin}/hupper -m waitress {listen} --threads 8 --channel-timeout 75"
                   " site_app:application",
           tcp="--listen 127.0.0.1:{port}", unix="--unix-socket {socket}"),
)  # fmt: skip

SERVERS = {
    row.name: row
    for row in (
        *_ROWS,
        *(row.over_unix() for row in _ROWS if row.unix),
        *(row.over_tls() for row in _ROWS if row.tls),
    )
}
