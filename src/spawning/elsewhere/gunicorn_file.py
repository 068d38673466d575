"""Reading a file of gunicorn's settings, which is a Python program: what it sets, and where.

It is executed as gunicorn does it, so whatever it does is done. What it prints goes to stderr.
"""

import ast
import contextlib
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spawning.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name is set.

    :param line: the line's number.
    :param computed: the expression, if it is none that stands for itself; it may have another value elsewhere.
    """

    line: int
    computed: str = ""


@dataclass(frozen=True, slots=True)
class ConfFile:
    """What a file has set: the global names that it leaves, without those that begin with an underscore."""

    names: Mapping[str, Any]
    places: Mapping[str, Place]


def read(path: str, shown: str) -> ConfFile:
    """Execute a file.

    :param shown: what it is called in messages.
    :raises ConfigError: it cannot be read, is no Python, or fails.
    """
    try:
        with open(path, "rb") as file:
            source = file.read()
        tree = ast.parse(source, path)
    except OSError as error:
        raise ConfigError(f"cannot read {shown}: {error.strerror}") from None
    except SyntaxError as error:
        raise ConfigError(f"{shown}, line {error.lineno}: this is no Python: {error.msg}") from None
    except ValueError as error:
        raise ConfigError(f"{shown} is no Python: {error}") from None
    names = _executed(compile(tree, path, "exec"), path, shown)
    return ConfFile({name: value for name, value in names.items() if not name.startswith("_")}, _places(tree, source))


def _executed(code: Any, path: str, shown: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__builtins__": __builtins__, "__name__": "__config__", "__file__": path}
    sys.path.insert(0, os.getcwd())  # gunicorn finds modules of the application there, and this command does not yet
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(code, names)
    except (Exception, SystemExit) as error:  # boundary: a program of somebody else's, for whom this line is
        raise ConfigError(f"{shown}{_line_in(error, path)} fails: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove(os.getcwd())
    return names


def _line_in(error: BaseException, path: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f", line {lines[-1]}," if lines else ""


def _places(tree: ast.Module, source: bytes) -> dict[str, Place]:
    """Return where each global name is set; the last place counts, and with several of them the value is computed."""
    found: dict[str, Place] = {}
    text = source.decode("utf-8", "replace")
    for node in sorted(_statements(tree.body), key=lambda node: node.lineno):
        for name in _names(node):
            value = getattr(node, "value", None)
            computed = "" if value is None or _stands_for_itself(value) else ast.get_source_segment(text, value) or "…"
            if name in found and not computed:
                computed = "…"
            found[name] = Place(node.lineno, computed)
    return found


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """List the statements of a module, and those inside of its ``if``, ``try`` and so on."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found += _statements([each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)])
    return found


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        targets: list[ast.expr] = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        return []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _stands_for_itself(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return False
    return True
