"""How the interpreter of this process was started, and how to start another one like it.

Every process of a server is to be the interpreter that the person has started: the same options (``python -O -X dev -W
error -m spawning …``), and the same ``sys.path``, also where a script has extended that before it called ``cli.main``.

Rules: nothing that lies in the application's directory may be imported in the place of the standard library or of a
package that Spawning needs. So the new interpreter is started with ``-P``, finds the package ``spawning`` at the place
where it is now, and has the rest of the path behind its own. It is the application's path only when Spawning has
imported all that it needs (``forkserver/prepare.py``).
"""

import contextlib
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence

from spawning.errors import ConfigError

_WITH_VALUE = "WX"
_PROGRAM = "cm"  # what follows is the program, and its arguments
_NOT_FOR_OTHERS = "ix"  # a prompt at the end; a first line to be skipped

_START = """\
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
spec = PathFinder.find_spec("spawning", {places!a} + sys.path)
sys.modules["spawning"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["spawning"])
sys.path += [each for each in {added!a} if each not in sys.path]
from {module} import main
sys.exit(main())
"""

_GIL_ENABLED = getattr(sys, "_is_gil_enabled", None)
_STARTED_IN = ""
with contextlib.suppress(OSError):  # it is gone: then nothing lies below it
    _STARTED_IN = os.path.realpath(os.getcwd())


def enter(directory: str, origin: str) -> None:
    """Go to the directory that the application is in (``--chdir``), and let all see its name (``PWD``).

    :param origin: where the directory was said, for the message.
    :raises ConfigError: it cannot be entered.
    """
    global _STARTED_IN  # noqa: PLW0603 - of the process, as the directory itself is
    try:
        os.chdir(directory)
    except OSError as error:
        raise ConfigError(f"{origin}: cannot enter {directory}: {error.strerror}") from None
    os.environ["PWD"] = directory
    _STARTED_IN = os.path.realpath(directory)


def options(argv: Sequence[str] = sys.orig_argv) -> list[str]:
    """List the options of an interpreter as they were typed, but for those that concern its own program alone.

    :param argv: the whole command line, the interpreter first.

    >>> options(["python", "-uO", "-X", "dev", "-m", "spawning", "site:app"])
    ['-uO', '-X', 'dev']
    """
    return list(_options(iter(argv[1:])))


def _options(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        if word in ("-", "--") or not word.startswith("-"):
            return
        if word.startswith("--"):  # --check-hash-based-pycs MODE
            yield word
            yield next(words, "")
            continue
        flags = "-"
        for position, letter in enumerate(word[1:], 1):
            if letter in _WITH_VALUE:
                yield flags + word[position:]
                if position == len(word) - 1:
                    yield next(words, "")
                flags = "-"
                break
            if letter in _PROGRAM:
                break
            flags += letter if letter not in _NOT_FOR_OTHERS else ""
        if flags != "-":
            yield flags
        if letter in _PROGRAM:
            return


def path_for_application() -> list[str]:
    """List the entries of ``sys.path`` for the application.

    What lies below the directory that this program was started in, other than the interpreter's own, is relative: it is
    the application's code, and the next generation may start in another directory. That directory itself is left out,
    since the application's comes first in any case.
    """
    own = _own()
    entries = [each if each in own else _from_start(each) for each in sys.path]
    return [each for each in entries if each != os.curdir]


def _from_start(entry: str) -> str:
    there = os.path.realpath(entry)
    if _STARTED_IN and os.path.commonpath([_STARTED_IN, there]) == _STARTED_IN != os.sep:
        return os.path.relpath(there, _STARTED_IN)
    return os.path.abspath(entry)


def fork_server(*arguments: str) -> list[str]:
    """Make the command that starts a fork server of this Spawning."""
    return [*start(), "-c", _program("spawning.forkserver.main", [_place()]), *arguments]


def status(*arguments: str) -> list[str]:
    """Make the command that starts the status service of this Spawning; nothing of the application is on its path."""
    return [*start(), "-c", _program("spawning.status.main", [_place()]), *arguments]


def spawning(*arguments: str) -> list[str]:
    """Make the command that starts the Spawning that is installed now.

    It is ``-m spawning`` where the interpreter finds all by itself; what a script has added to the path is added again.
    """
    added = _added()
    if not added:
        return [*start(), "-m", "spawning", *arguments]
    return [*start(), "-c", _program("spawning.cli", [_place()] if _place() in added else []), *arguments]


def refuse_free_threading(gil_enabled: Callable[[], bool] | None = _GIL_ENABLED) -> None:
    """Refuse an interpreter without the interpreter lock, on which the threads of a worker rely.

    :param gil_enabled: as ``sys._is_gil_enabled`` (Python 3.13); None where there is no such thing.
    :raises ConfigError: there is no lock.
    """
    if gil_enabled is not None and not gil_enabled():
        raise ConfigError(
            "this Python is free-threaded, which Spawning does not support: use another one, or set PYTHON_GIL=1"
        )


def start() -> list[str]:
    """Make the beginning of a command: this interpreter, its options, and no path of its program."""
    typed = options()
    return [sys.executable, *typed, *([] if "-P" in typed else ["-P"])]


def needed() -> list[str]:
    """List the files without which no interpreter like this one can be started: itself, and Spawning."""
    return [sys.executable, os.path.join(_place(), "spawning", "__init__.py")]


def _program(module: str, places: Sequence[str]) -> str:
    return _START.format(module=module, places=places, added=_added())


def _place() -> str:
    """Name the directory that the package ``spawning`` lies in."""
    return os.path.dirname(os.path.abspath(__import__("spawning").__path__[0]))


def _own() -> set[str]:
    """List where every interpreter of this installation looks, other than in ``PYTHONPATH`` and ``.pth`` files."""
    places = sysconfig.get_paths()
    libraries = {places["stdlib"], places["platstdlib"]}
    own = libraries | {os.path.join(each, "lib-dynload") for each in libraries}
    own |= {places["purelib"], places["platlib"], *site.getsitepackages(), site.getusersitepackages()}
    archive = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    return own | {each for each in sys.path if os.path.basename(each) == archive}


def _added() -> list[str]:
    """List the other entries, without that of the program that the interpreter was started with."""
    entries = [os.path.abspath(each) for each in sys.path if each]
    if not sys.flags.safe_path and entries and sys.argv and sys.argv[0]:
        program = os.path.dirname(os.path.realpath(sys.argv[0]))
        entries = entries[1:] if entries[0] == program and program != _place() else entries
    own = _own()
    return [each for each in entries if each not in own and each != _STARTED_IN]
