"""What a log line says of a request. The values are the application's by then: any object, also one that raises.

Nothing here raises: the code that logs a failure must not fail because of what the failure is about.
"""

from typing import Any

from spawning.wsgi.request_id import id_at_end

Environ = dict[str, Any]


def names(environ: Environ) -> str:
    """Return method, path and, if there is one, id of a request as the end of a log line."""
    return f"method={method_of(environ)} path={shown(environ.get('PATH_INFO'))}{id_at_end(environ)}"


def method_of(environ: Environ) -> str:
    """Return the method, or an empty text when the application has taken it out of the environ."""
    return text_of(environ.get("REQUEST_METHOD", ""))


def path_of(environ: Environ) -> str:
    """Return the path alone: a query may hold what does not belong in a log."""
    return text_of(environ.get("PATH_INFO", ""))


def text_of(value: object) -> str:
    """Return ``str(value)``; if that raises, what kind of object it is."""
    if type(value) is str:
        return value
    try:
        return str.__str__(str(value))  # of a subclass, what it holds: its own __format__ may raise, too
    except BaseException:  # boundary: an object of the application's
        return _unshowable(value)


def shown(value: object) -> str:
    """Return ``repr(value)``; if that raises, what kind of object it is."""
    try:
        return str.__str__(repr(value))
    except BaseException:  # boundary: an object of the application's
        return _unshowable(value)


def _unshowable(value: object) -> str:
    return f"<{type(value).__name__} that cannot be shown>"
