"""All that a controller knows, as bytes: what the program that replaces it by exec goes on from.

Rules: the records are written and read by the types of their fields, so a field that is added somewhere travels without
a change here, if its type is made of plain values, enums, named tuples, dataclasses and their collections. A newer
Spawning reads what an older one wrote and the other way round: fields that the reader does not know are ignored, those
that the writer did not know have their default. Where that would not do, ``VERSION`` has to grow, and such an upgrade
is refused before anything happens.
"""

import dataclasses
import enum
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from spawning.controller.fleet import Fleet
from spawning.controller.links import Unsent
from spawning.controller.listeners import Held
from spawning.controller.plan import Wanted
from spawning.controller.records import Process, Source
from spawning.settings import Settings, as_dict, checked

VERSION = 1


@dataclass(frozen=True, slots=True)
class State:
    """The controller's knowledge, and its descriptors: they are the same numbers before and after an exec.

    :param channels: its ends of the channels.
    :param handoff: sending and receiving end of the handoff socket.
    :param activated: the listening sockets came from the service manager (for readers that know no ``inherited``).
    :param held: what is to be known of each listening socket; empty if the writer did not know.
    :param inherited: descriptors of the service manager's sockets, by name.
    :param identities: numbers of generations to the files with their certificates (``net/identity.py``).
    :param ticket_keys: keys of session tickets, and when they were made (seconds since the epoch).
    :param bound: the settings with which the sockets were bound.
    :param pidfile: its absolute path.
    :param pidfile_lock: the descriptor that has its lock; negative: none has.
    :param control: the control socket that listens, and its path.
    :param fence: the page of the fence; negative: the writer had none.
    :param unsent: messages that their channels have not taken yet.
    :param foreign: children that this process had before it became the controller.
    :param started_in: the directory in which the service was started; empty if the writer did not know.
    :param logs: files of the access log, by absolute path.
    :param terminal: the end of the terminal, if there is one, is that of the server.
    :param status_listeners: the sockets of the status service.
    :param metrics: the directory for ``--app-metrics``.
    """

    wanted: Wanted
    fleet: Fleet
    channels: dict[Source, int]
    handoff: tuple[int, int]
    listeners: list[int]
    activated: bool
    bound: Settings
    pidfile: str | None = None
    control: tuple[int, str] | None = None
    pidfile_lock: int = -1
    fence: int = -1
    unsent: list[Unsent] = field(default_factory=list)
    foreign: list[Process] = field(default_factory=list)
    started_in: str = ""
    logs: dict[str, int] = field(default_factory=dict)
    terminal: bool = True
    status_listeners: list[int] = field(default_factory=list)
    metrics: str = ""
    held: list[Held] = field(default_factory=list)
    inherited: dict[str, list[int]] = field(default_factory=dict)
    identities: dict[int, int] = field(default_factory=dict)
    ticket_keys: tuple[str, float] = ("", 0.0)
    version: int = VERSION

    @property
    def descriptors(self) -> list[int]:
        """List all descriptors that have to stay open."""
        control = [self.control[0]] if self.control is not None else []
        single = [fd for fd in (self.pidfile_lock, self.fence) if fd >= 0]
        waiting = [fd for unsent in self.unsent for fd in unsent.fds]
        several = [
            self.channels.values(),
            self.handoff,
            self.listeners,
            control,
            single,
            waiting,
            self.logs.values(),
            self.status_listeners,
            self.identities.values(),
            *self.inherited.values(),
        ]
        return list(dict.fromkeys(fd for fds in several for fd in fds))


def dumps(state: State) -> bytes:
    return json.dumps(_plain(state)).encode()


def loads(data: bytes) -> State:
    """Read what :func:`dumps` of this or another version of Spawning wrote.

    :raises ValueError: it cannot be used; says why.
    """
    values = json.loads(data)
    if values.get("version") != VERSION:
        raise ValueError(f"the running Spawning leaves a state of version {values.get('version')}, not {VERSION}")
    try:
        state: State = _restored(State, values)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"the running Spawning leaves a state that this one does not know: {error!r}") from error
    return state


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return as_dict(value)
    if isinstance(value, enum.Enum):
        return value.name
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return [[_plain(key), _plain(each)] for key, each in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"the state has a value that cannot be handed on: {value!r}")


def _restored(hint: Any, value: Any) -> Any:
    """Make a value of type `hint` from what :func:`_plain` gave."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _of_union(arguments, value)
    if origin is dict:
        return {_restored(arguments[0], key): _restored(arguments[1], each) for key, each in value}
    if origin is tuple and arguments[-1] is not Ellipsis:
        return tuple(_restored(each, item) for each, item in zip(arguments, value, strict=True))
    if origin in (list, tuple, set, frozenset):
        return origin(_restored(arguments[0], each) for each in value)
    if not isinstance(hint, type):
        raise TypeError(f"the state has a field of a type that cannot be handed on: {hint!r}")
    return _of_class(hint, value)


def _of_union(arguments: tuple[Any, ...], value: Any) -> Any:
    """Restore an optional value, or one of plain types; other unions are not told apart."""
    others = [each for each in arguments if each is not type(None)]
    if value is None and len(others) < len(arguments):
        return None
    return _restored(others[0], value) if len(others) == 1 else value


def _of_class(hint: type[Any], value: Any) -> Any:
    if hint is Settings:
        return checked(value, environ={})
    if issubclass(hint, enum.Enum):
        return hint[value]
    hints = typing.get_type_hints(hint)
    if dataclasses.is_dataclass(hint):
        known = {item.name: hints[item.name] for item in dataclasses.fields(hint)}
        return hint(**{name: _restored(known[name], each) for name, each in value.items() if name in known})
    if issubclass(hint, tuple):  # a named one
        return hint(*(_restored(each, item) for each, item in zip(hints.values(), value, strict=True)))
    return value
