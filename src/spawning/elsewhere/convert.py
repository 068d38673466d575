"""A file of gunicorn's settings as a file of ours, with a comment for what has no counterpart."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from spawning.elsewhere import gunicorn, taking
from spawning.elsewhere.gunicorn_file import ConfFile, Place, read
from spawning.elsewhere.rows import Conf, Remark, Row, as_it_is
from spawning.errors import ConfigError
from spawning.settings.checking import parsed
from spawning.settings.names import APP, MIDDLEWARE, key_of, nearest
from spawning.settings.show import toml
from spawning.settings.table import OPTIONS

_LONGEST: Final = 100  # characters of a value in a comment
_EMPTY: Final[tuple[Any, ...]] = (None, False, "", [], {}, ())
_APPLICATION: Final = (APP, MIDDLEWARE)
_LOADED_ONCE: Final = (
    "preload_app is off: here the application is loaded once a generation, and workers are forked from that; write"
    " no-preload = true if it does not survive a fork"
)


class Line(NamedTuple):
    """A line of the result: a setting if it has a key, else a comment."""

    key: str
    value: Any
    comment: str


def from_gunicorn(path: str, words: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the text of a ``spawning.toml`` that means the same as a file of gunicorn's settings.

    :param words: the application, if somebody names it.
    :raises ConfigError: the file cannot be executed.
    """
    shown = os.path.basename(path)
    file = read(path, shown)
    return "\n".join(_text(converted(file, words, environ), shown)) + "\n"


class Converted(NamedTuple):
    """The lines of a result, by what they come from."""

    said: list[Line]
    unsaid: list[Line]
    without: list[Line]


def converted(file: ConfFile, words: Sequence[str], environ: Mapping[str, str]) -> Converted:
    """Look at each setting of gunicorn's."""
    names = {name: value for name, value in file.names.items() if name in gunicorn.BY_NAME}
    if words:
        names["wsgi_app"] = words[0]
    conf = Conf({row.name: row.default for row in gunicorn.ROWS} | names, frozenset(names), environ)
    found = Converted([], [], [])
    for row in gunicorn.ROWS:
        if row.name in conf.said:
            for line in _of_row(row, conf, file.places.get(row.name)):
                (found.said if line.key else found.without).append(line)
        elif row.unsaid:
            found.unsaid.extend(line for line in _of_row(row, conf, None) if line.key)
    if not taking.is_on(conf.values["preload_app"]):
        found.without.append(_comment(_LOADED_ONCE))
    found.without.extend(_hooks(file))
    found.without.extend(_typing_errors(file))
    return found


def _of_row(row: Row, conf: Conf, place: Place | None) -> Iterator[Line]:
    """Yield what becomes of one setting."""
    value = conf.values[row.name]
    if row.name == "paste":
        yield from _paste(value)
        return
    if not row.unsaid and (value is None or (value == row.default and value in _EMPTY)):
        return  # a switch that is off, a name that is not given
    try:
        ours = row.take(value, conf) if row.key or row.take is not as_it_is else Remark(row.note)
        yield from _line(row, value, ours, place)
    except (TypeError, ValueError) as error:
        yield _comment(f"{row.name} = {_short(value)} cannot be used: {error}")


def _line(row: Row, value: Any, ours: Any, place: Place | None) -> Iterator[Line]:
    if ours is None:
        return
    name = row.setting
    if isinstance(ours, Remark):
        yield _comment(f"{row.name} = {_short(value)}: {ours.text}")
    elif name is None:
        yield _comment(f"{row.name} = {_short(value)}: there is no setting {row.key} here yet. {row.note}")
    else:
        ours = _checked(name, ours)
        yield Line(key_of(name), ours, _origin(row, place))


def _checked(name: str, value: Any) -> Any:
    """Return a value as a file of ours has it.

    :raises ConfigError: it is none.
    """
    if name in _APPLICATION:
        return value
    try:
        result = parsed(name, value, OPTIONS[name].flag)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return list(result) if isinstance(result, tuple) else result


def _paste(value: Any) -> Iterator[Line]:
    if value:
        yield Line("factory", "paste", "paste")
        yield Line(APP, str(value).removeprefix("config:"), "paste")


def _origin(row: Row, place: Place | None) -> str:
    if place is None:
        return row.name
    if not place.computed:
        return row.name
    text = "" if place.computed == "…" or "\n" in place.computed else f": {place.computed}"
    return f"{row.name}, computed in line {place.line}{text}"


def _hooks(file: ConfFile) -> Iterator[Line]:
    """Yield a comment for each function that gunicorn would call."""
    for name, (decorator, sentence) in gunicorn.HOOKS.items():
        if callable(file.names.get(name)):
            where = f"{name} (line {file.places[name].line})" if name in file.places else name
            moved = (
                f"move it to the application, below @{decorator.__name__} of spawning.lifecycle; " if decorator else ""
            )
            yield _comment(f"{where}: {moved}{sentence}")


def _typing_errors(file: ConfFile) -> Iterator[Line]:
    known = [*gunicorn.BY_NAME, *gunicorn.HOOKS, "config"]
    for name, value in file.names.items():
        if name in known or name not in file.places or callable(value):
            continue
        if close := nearest(name, known):
            yield _comment(f"{name} (line {file.places[name].line}): gunicorn has no such setting, only {close}")


def _comment(text: str) -> Line:
    return Line("", None, text)


def _short(value: Any) -> str:
    text = f"{getattr(value, '__name__', '…')}" if callable(value) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _text(found: Converted, shown: str) -> Iterator[str]:
    yield f"# Made by spawn --from-gunicorn from {_plain(shown)}; docs/from/gunicorn.md says what each setting means."
    settings = {line.key for line in (*found.said, *found.unsaid)}
    if APP not in settings:
        yield '# app = "module:application"  # name the application here, or behind spawn'
    written: set[str] = set()
    for title, lines in (
        ("", sorted(found.said, key=lambda line: line.key not in ("factory", *_APPLICATION))),
        ("What gunicorn does unless it is told otherwise", found.unsaid),
    ):
        yield from ("", f"# {title}") if title and lines else ()
        for line in lines:
            if line.key not in written:
                written.add(line.key)
                yield f"{line.key} = {toml(line.value)}  # {_plain(line.comment)}"
    if found.without:
        yield from ("", "# No setting here")
        yield from (f"# {_plain(line.comment)}" for line in found.without)


def _plain(text: str) -> str:
    """Make one line of a comment, which TOML lets have no control characters."""
    return "".join(each if each.isprintable() else " " for each in " ".join(text.split()))
