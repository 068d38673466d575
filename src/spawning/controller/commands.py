"""What the commands of ``spawnctl`` do. For the controller's loop alone.

A command is answered at once, or at the end of what it waits for: of a reload or rollback (``awaiting.py``), or of the
workers' answers about their threads. After each turn of the loop :meth:`Commands.observe` looks whether that has come.
"""

import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from spawning.controller.awaiting import Failed, Replaced, Serves, Underway, look
from spawning.controller.control import Asked, Client, ControlSocket, open_control
from spawning.controller.fleet import Fleet
from spawning.controller.links import Links
from spawning.controller.outside import Outside
from spawning.controller.plan import Service, Wanted
from spawning.controller.reader import Reader
from spawning.controller.records import GenerationState, Source, WorkerRecord, WorkerState
from spawning.controller.snapshot import Situation, full_snapshot, shown_settings, snapshot
from spawning.controller.upgrade import Attempt, Upgrade
from spawning.errors import ConfigError
from spawning.ipc.control import peer
from spawning.ipc.messages import AskDetails, Details, OpenConsole
from spawning.logs.log import Log
from spawning.logs.setup import fields
from spawning.settings import Settings, parsed
from spawning.settings.show import as_toml
from spawning.settings.sources import Configuration

ANSWER_SECONDS = 3.0  # for a worker to answer; it cannot while a call holds its interpreter lock
_ANSWERING = (WorkerState.READY, WorkerState.SERVING, WorkerState.RETIRING, WorkerState.FROZEN)

log = Log("spawning.controller")


class Server(Protocol):
    """The part of the controller that the commands need."""

    fleet: Fleet
    links: Links
    wanted: Wanted
    upgrade: Upgrade
    outside: Outside
    reader: Reader

    @property
    def settings(self) -> Settings:
        """The settings that were read last."""

    def reload(self, trigger: str) -> None:
        """Ask for a new generation; ``wanted.generation`` is its number then."""

    def roll_back(self, number: int) -> None:
        """Ask for the kept generation."""

    def scale(self, workers: int) -> None:
        """Want so many workers."""

    def begin_upgrade(self) -> None:
        """Try to become the Spawning that is installed now; ``upgrade`` says how far that is."""

    def stop(self, **cause: str) -> None:
        """Stop gracefully."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A client who waits for a generation to serve."""

    client: Client
    number: int
    since: float
    shown: str = ""
    until: float = math.inf


@dataclass(slots=True, eq=False)
class _Question:
    """A client's question to workers, and their answers so far (None: not yet)."""

    client: Client
    until: float
    answers: dict[Source, Details | None] = field(default_factory=dict)


class Commands:
    """The control socket and the conversations over it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._control: ControlSocket | None = None
        self._started_at = time.monotonic()
        self._waiting: list[_Waiting] = []
        self._upgrading: list[Client] = []
        self._questions: dict[int, _Question] = {}
        self._asked = 0
        # One row for a command. Each gets the client and the arguments, and answers, refuses, or remembers the client.
        self._run: dict[str, Callable[[Client, dict[str, Any]], None]] = {
            "status": self._status,
            "reload": self._reload,
            "rollback": self._rollback,
            "upgrade": self._upgrade,
            "wait": self._wait,
            "scale": self._scale,
            "stop": self._stop,
            "requests": self._requests,
            "stacks": self._stacks,
            "logs": self._logs,
            "config": self._config,
            "console": self._console,
        }

    def open(self, settings: Settings, origin: str) -> None:
        """Make the control socket, once the address is bound.

        :raises ConfigError: it cannot be made where it is asked for.
        """
        name = self._server.outside.listeners.addresses[0].place
        self._follow(open_control(settings.control_socket, origin, name, os.environ))

    def _follow(self, control: ControlSocket | None) -> None:
        self._control = control
        if control is not None:
            self._server.links.watch(control.fileno())

    def go_on_with(self, settings: Settings, handed: tuple[socket.socket, str] | None) -> None:
        """Go on with the control socket of the program before this one. If somebody has removed it, or there was none,
        it is made anew; one that cannot be made must not end what serves.

        :param handed: the listening socket and its path.
        """
        try:
            if handed is not None and os.path.lexists(handed[1]):
                self._follow(ControlSocket(Path(handed[1]), handed[0]))
                return
            if handed is not None:
                handed[0].close()
            self.open(settings, "option --control-socket")
        except (ConfigError, OSError) as error:
            log.warning("no control socket %s", fields(reason=error))

    @property
    def situation(self) -> Situation:
        """Return what the controller knows beside its records."""
        listeners = self._server.outside.listeners
        urls = [each.url for each in listeners.addresses]
        certificates = self._server.outside.identities.terms
        return Situation(self._server.wanted, urls, self._started_at, listeners.open, certificates)

    @property
    def handed_on(self) -> tuple[int, str] | None:
        """Return the descriptor and the path of the control socket, for the next program."""
        return (self._control.listener, str(self._control.path)) if self._control is not None else None

    def close(self) -> None:
        if self._control is not None:
            self._control.close()

    def collect(self, queue: deque[Any]) -> None:
        """Enqueue the questions that have come, without waiting."""
        if self._control is not None:
            queue.extend(self._control.collect())

    def run(self, asked: Asked) -> None:
        """Carry out a command. Whatever is asked is answered, and nothing is raised."""
        command = self._run.get(asked.command)
        if command is None:
            self._refuse(asked.client, f"unknown command {asked.command!r}: there are {', '.join(self._run)}")
            return
        try:
            command(asked.client, asked.arguments)
        except RecursionError:  # an argument that could be read cannot be shown in the error about it
            self._refuse(asked.client, f"{asked.command}: an argument is nested too deeply")
        # boundary: who asks is told of a bug, and what serves or starts goes on
        except Exception as error:
            log.exception("this is a bug in Spawning %s", fields(command=asked.command))
            self._refuse(asked.client, f"{asked.command} has failed, the server's log has the traceback: {error!r}")

    def observe(self, now: float) -> None:
        """Send those who wait what they wait for."""
        self._waiting = [each for each in self._waiting if not each.client.gone and not self._told(each, now)]
        if self._server.upgrade.attempt is not Attempt.CHECKED:
            for client in self._upgrading:
                self._upgrade_checked(client)
            self._upgrading.clear()
        for number, question in list(self._questions.items()):
            if self._complete(question, now):
                del self._questions[number]
                self._answer(question.client, {"workers": [_known(*each) for each in question.answers.items()]})

    @property
    def until(self) -> float:
        """When to observe again even if nothing happens (infinity: never)."""
        times = [*(each.until for each in self._questions.values()), *(each.until for each in self._waiting)]
        return min(times, default=math.inf)

    def on_details(self, source: Source, message: Details) -> None:
        """Take a worker's answer."""
        question = self._questions.get(message.question)
        if question is not None:
            question.answers[source] = message

    def _answer(self, client: Client, values: dict[str, Any]) -> None:
        if self._control is not None:
            self._control.answer(client, values)

    def _refuse(self, client: Client, error: str, details: str = "") -> None:
        if self._control is not None:
            self._control.refuse(client, error, details)

    # Commands --------------------------------------------------------------------------------------------------------

    def _status(self, client: Client, arguments: dict[str, Any]) -> None:
        now = time.monotonic()
        make = full_snapshot if arguments.get("full") else snapshot
        self._answer(client, make(self.situation, self._server.fleet, now))

    def _reload(self, client: Client, arguments: dict[str, Any]) -> None:
        if self._server.wanted.service is not Service.RUN:
            self._refuse(client, "the server is stopping")
            return
        self._server.reload("spawnctl")
        self._begun(client, self._server.wanted.generation, arguments)

    def _rollback(self, client: Client, arguments: dict[str, Any]) -> None:
        fleet = self._server.fleet
        in_cutover = any(each.state is GenerationState.CUTOVER for each in fleet)
        previous = fleet.serving if in_cutover else fleet.kept  # what serves is what will be kept
        if self._server.wanted.service is not Service.RUN:
            self._refuse(client, "the server is stopping")
        elif previous is None or not previous.may_be_kept:
            self._refuse(client, _nothing_kept(fleet))
        else:
            self._server.roll_back(previous.number)
            self._begun(client, previous.number, arguments)

    def _upgrade(self, client: Client, arguments: dict[str, Any]) -> None:
        self._server.begin_upgrade()
        if self._server.upgrade.attempt is Attempt.CHECKED and arguments.get("wait"):
            self._control_progress(client, "checking the Spawning that is installed")
            self._upgrading.append(client)
        else:
            self._upgrade_checked(client)

    def _upgrade_checked(self, client: Client) -> None:
        """Answer: what comes after the exec has to be asked of the new program (``wait``)."""
        upgrade = self._server.upgrade
        if upgrade.attempt is Attempt.NONE:
            reason, details = upgrade.refusal
            self._refuse(client, f"the upgrade was refused: {reason}", f"{details}\n" if details else "")
        else:
            self._answer(client, {"generation": self._server.fleet.newest + 1})

    def _wait(self, client: Client, arguments: dict[str, Any]) -> None:
        number = arguments.get("generation")
        if type(number) is not int:  # isinstance would take true for generation 1
            self._refuse(client, "generation is not a number")
        elif self._server.upgrade.attempt is Attempt.NONE:
            self._waiting.append(_Waiting(client, number, time.monotonic()))
        # else the next program knows; the end of the connection says that it is time to ask it

    def _begun(self, client: Client, number: int, arguments: dict[str, Any]) -> None:
        if arguments.get("wait"):
            self._waiting.append(_Waiting(client, number, time.monotonic()))
        else:
            self._answer(client, {"generation": number})

    def _scale(self, client: Client, arguments: dict[str, Any]) -> None:
        asked = arguments.get("workers")
        try:
            workers = parsed("num_processes", str(asked) if isinstance(asked, bool) else asked, "scale")
        except ConfigError as error:
            self._refuse(client, str(error))
            return
        if self._server.fleet.serving is None:
            self._refuse(client, "nothing serves yet")
        else:
            self._server.scale(workers)
            self._answer(client, {"workers": workers})

    def _stop(self, client: Client, arguments: dict[str, Any]) -> None:
        """Stop; who waits sees the end of the connection, which is that of the controller."""
        self._server.stop(trigger="spawnctl")
        if not arguments.get("wait"):
            self._answer(client, {})

    def _requests(self, client: Client, _: dict[str, Any]) -> None:
        workers = [worker for each in self._server.fleet for worker in each.workers.values()]
        self._ask(client, [each.source for each in workers if each.state in _ANSWERING], stacks=False)

    def _stacks(self, client: Client, arguments: dict[str, Any]) -> None:
        if (worker := self._named(client, arguments)) is not None:
            self._ask(client, [worker.source], stacks=True)

    def _console(self, client: Client, arguments: dict[str, Any]) -> None:
        """Hand the client on to a worker, which answers it."""
        worker = self._named(client, arguments)
        if worker is None or self._control is None:
            return
        if not self._server.fleet.generations[worker.source.generation].settings.backdoor:
            self._refuse(client, "there are no consoles here: the server was started without --backdoor")
            return
        log.warning("console asked for %s", fields(worker=worker.source, pid=worker.pid, user=peer(client.sock)))
        self._server.links.send(worker.source, OpenConsole(), [client.sock.fileno()])
        self._control.let_go(client)

    def _named(self, client: Client, arguments: dict[str, Any]) -> WorkerRecord | None:
        """Return the worker that a client names; None: there is none that answers, which the client is told."""
        name = str(arguments.get("worker"))
        workers = [worker for each in self._server.fleet for worker in each.workers.values()]
        there = {str(each.source): each for each in workers if each.state in _ANSWERING}
        if name not in there:
            self._refuse(client, f"no worker {name}: there are {', '.join(there) or 'none'}")
        return there.get(name)

    def _config(self, client: Client, _: dict[str, Any]) -> None:
        """Answer the settings of the generation that serves, its secrets hidden."""
        serving = self._server.fleet.serving
        if serving is None:
            self._refuse(client, "nothing serves yet")
            return
        configuration = Configuration(serving.settings, self._server.reader.origins(serving))
        toml = as_toml(configuration)
        self._answer(client, {"generation": serving.number, "toml": toml, "settings": shown_settings(serving)})

    def _logs(self, client: Client, _: dict[str, Any]) -> None:
        """Answer where the logs go: a path, or null for a stream of the controller's process."""
        server = self._server
        serving = server.fleet.serving
        name = (serving.settings if serving is not None else server.settings).access_log_file
        access = None if name == "-" else name if name == os.devnull else server.outside.logs.path(name)
        self._answer(client, {"pid": os.getpid(), "access": access, "error": None})

    def _ask(self, client: Client, sources: list[Source], *, stacks: bool) -> None:
        self._asked += 1
        self._questions[self._asked] = _Question(client, time.monotonic() + ANSWER_SECONDS, dict.fromkeys(sources))
        for source in sources:
            self._server.links.send(source, AskDetails(self._asked, stacks))

    # Waiting ---------------------------------------------------------------------------------------------------------

    def _told(self, waiting: _Waiting, now: float) -> bool:
        """Send what has happened since the last time; return whether that is the end."""
        progress = look(waiting.number, self._server.wanted, self._server.fleet, now)
        waiting.until = math.inf
        if isinstance(progress, Replaced):
            self._progress(waiting, f"generation {waiting.number}: replaced by generation {progress.number}")
            waiting.number = progress.number
        elif isinstance(progress, Underway):
            self._progress(waiting, progress.text)
            waiting.until = progress.until
        elif isinstance(progress, Serves):
            seconds = max(0.0, progress.since - waiting.since)
            self._answer(waiting.client, {"generation": progress.number, "seconds": round(seconds, 3)})
            return True
        else:
            assert isinstance(progress, Failed)
            self._refuse(waiting.client, progress.reason, progress.traceback)
            return True
        return False

    def _progress(self, waiting: _Waiting, text: str) -> None:
        if text != waiting.shown:
            waiting.shown = text
            self._control_progress(waiting.client, text)

    def _control_progress(self, client: Client, text: str) -> None:
        if self._control is not None:
            self._control.progress(client, text)

    def _complete(self, question: _Question, now: float) -> bool:
        """Whether all have answered who are still there, or have had their time."""
        missing = [source for source, answer in question.answers.items() if answer is None]
        return now >= question.until or all(self._server.fleet.worker(source) is None for source in missing)


def _nothing_kept(fleet: Fleet) -> str:
    serving = fleet.serving
    if serving is not None and serving.settings.no_preload:
        return "there is no generation to go back to: with --no-preload no application is in memory"
    if serving is not None and serving.settings.keep_previous == 0:
        return "there is no generation to go back to: --keep-previous is 0"
    return "there is no generation to go back to: none was replaced within --keep-previous, or its fork server has died"


def _known(source: Source, details: Details | None) -> dict[str, Any]:
    known = {"requests": details.requests, "stacks": details.stacks} if details else {"requests": None, "stacks": None}
    return {"name": str(source), **known}
