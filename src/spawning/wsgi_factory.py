"""The factory for any WSGI application (``-f wsgi``, the default), and what every factory needs: names and errors.

``spawn APP [MIDDLEWARE …]``: each is the name of an object, ``package.module.attribute`` or
``package.module:attribute`` (the attribute may be dotted; ``module:factory()`` calls it). APP may be a module alone, in
which the usual names are looked for. The application is wrapped by the middleware in order, the last one outermost.

Rules: nothing here is called by the controller, all of it runs in a fork server (or in a worker with --no-preload);
whatever the application's own code raises becomes an ``AppLoadError`` with the application's traceback, in which no
frame of Spawning appears. This module knows neither Django nor PasteDeploy.
"""

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any

from spawning.errors import AppLoadError, ConfigError
from spawning.logs.log import Log
from spawning.logs.setup import fields

WSGIApplication = Callable[[dict[str, Any], Any], Any]

log = Log("spawning.factories")

_USUAL = ("application", "app", "create_app()")  # what an application is called in its module, the first one counts
_OUR_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORT_MACHINERY = ("<frozen importlib", os.path.dirname(os.path.abspath(importlib.__file__)) + os.sep)


def config_factory(args: dict[str, Any]) -> dict[str, Any]:
    """Choose the application factory of this module.

    :param args: the settings as plain values; ``args["args"]`` is APP and the middleware.
    :returns: the same, with ``app_factory``.
    :raises ConfigError: APP is missing, or is a file that is no module.
    """
    if not args["args"]:
        raise ConfigError("no APP given: name the application, such as mysite.wsgi:application")
    _check_word(args["args"][0])
    return {**args, "app_factory": "spawning.wsgi_factory.app_factory"}


def _check_word(word: str) -> None:
    """See that what should be an application is not a file of another kind, and say what to write for those."""
    path, _, attribute = word.partition(":")
    directory, name = os.path.split(os.path.normpath(path))
    if name.endswith(".ini"):
        raise ConfigError(f"{word} is an ini file: write -f paste {word}")
    if name.endswith(".toml"):
        raise ConfigError(f"{word} is a file of settings: write --config {word}")
    if name == "manage.py":
        raise ConfigError(
            f"{word} is not an application: write spawn alone in its directory, or -f django mysite.settings"
        )
    if name.endswith(".py") and word != name:
        named = f"{name.removesuffix('.py')}:{attribute or 'application'}"
        instead = f"--chdir {directory} {named}, or the module's name" if directory else named
        raise ConfigError(f"{path} is a file: write {instead}")


def app_factory(config: dict[str, Any]) -> WSGIApplication:
    """Load the application that ``config["args"]`` names and wrap it in the middleware that follows.

    :raises AppLoadError: a name leads nowhere, or the code behind it fails.
    """
    name, *middleware = config["args"]
    application, name = find_application(name)
    if not callable(application):
        raise AppLoadError(f"{name} is not callable: it is {_described(application)}, not a WSGI application")
    return wrap(application, name, middleware)


def wrap(application: Any, name: str, middleware: Sequence[str]) -> WSGIApplication:
    """Wrap an application in the middleware named, the last one outermost, and see that the result can be called.

    :param name: what the application is called in messages.
    :raises AppLoadError: a middleware cannot be loaded or fails, or the result is no WSGI application.
    """
    for layer in middleware:
        factory = resolve(layer)
        if not callable(factory):
            raise AppLoadError(f"middleware {layer} is not callable: it is {_described(factory)}")
        with application_errors(f"middleware {layer} failed to wrap the application"):
            application = factory(application)
        name = f"what middleware {layer} returned"
    _check_callable(application, name)
    wrapped: WSGIApplication = application
    return wrapped


def prepare_path(entries: Sequence[str] = ()) -> None:
    """Put the current directory first on ``sys.path``, whichever way this interpreter was started.

    :param entries: what follows it, if that is not what is there already; relative ones begin in that directory.
    """
    here = os.getcwd()
    sys.path[:] = dict.fromkeys([here, *(os.path.join(here, each) for each in entries or sys.path)])


def resolve(name: str) -> Any:
    """Find the object that a name means, importing what is needed.

    :param name: ``package.module.attribute`` or ``package.module:attribute``, with ``()`` at the end to call it.
    :raises AppLoadError: says which part of the name was not found and where it was looked for, or carries the
        traceback of a module that does not import or of a call that fails.
    """
    path = name.removesuffix("()")
    module_part, colon, attribute_part = path.partition(":")
    modules, attributes = module_part.split("."), attribute_part.split(".") if colon else []
    if not all(part.isidentifier() for part in modules + attributes):
        raise AppLoadError(f"{name!r} is not a name: write package.module:attribute, such as mysite.wsgi:application")
    if not colon:
        if len(modules) == 1:
            raise AppLoadError(f"{name!r} names a module but nothing in it: write, for example, {name}:application")
        modules, attributes = _split_dotted(modules, name)
    found: Any = import_module(".".join(modules), name)
    for position, attribute in enumerate(attributes):
        found = _attribute(found, attribute, ".".join(modules + attributes[:position]), name)
    if path == name:
        return found
    if not callable(found):
        raise AppLoadError(f"{path} is not callable: it is {_described(found)}")
    with application_errors(f"calling {name} failed"):
        return found()


def find_application(word: str) -> tuple[Any, str]:
    """Find the application that a word means: a name, or a module (also as its file) that has it by a usual name.

    :returns: the application, and its whole name.
    :raises AppLoadError: as :func:`resolve`, or the module has none of the names.
    """
    parts = word.removesuffix(".py").split(".")
    if not all(part.isidentifier() for part in parts):
        return resolve(word), word
    module = ".".join(parts)
    if len(parts) > 1 and not word.endswith(".py"):
        try:
            found = resolve(word)
        except AppLoadError as error:
            if error.details or not _is_module(module):
                raise
        else:
            if not isinstance(found, ModuleType):
                return found, word
    name = _usual_name(import_module(module))
    log.info("application found in its module %s", fields(application=name))
    return resolve(name), name


def _is_module(name: str) -> bool:
    """Whether there is a module of that name; the packages above it are imported."""
    try:
        return importlib.util.find_spec(name) is not None
    # boundary: the packages are the application's code; what is wrong with them is known already
    except Exception:
        return False


def _usual_name(module: ModuleType) -> str:
    path = module.__name__
    for usual in _USUAL:
        if callable(getattr(module, usual.removesuffix("()"), None)):
            return f"{path}:{usual}"
    where = f"module {path} ({getattr(module, '__file__', None) or 'a package'})"
    if hasattr(module, "ROOT_URLCONF") or hasattr(module, "INSTALLED_APPS"):
        raise AppLoadError(f"{where} has the settings of a Django project: write -f django {path}")
    raise AppLoadError(f"{where} has neither {', '.join(_USUAL[:-1])} nor {_USUAL[-1]}: write {path}:NAME")


def import_module(module: str, name: str = "") -> ModuleType:
    """Import a module of the application.

    :param module: its dotted path.
    :param name: the whole name that was asked for, for the message, when it is longer.
    :raises AppLoadError: the module does not exist (no details), or something in it fails (with its traceback).
    """
    with application_errors(f"cannot import {module}{_wanted(name, module)}"):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not _is_missing_itself(error, module):
                raise
            missing = str(error.name)
            message = f"there is no module {missing}{_wanted(name or module, missing)}; looked for in {_searched()}"
    raise AppLoadError(message)


@contextlib.contextmanager
def application_errors(message: str) -> Iterator[None]:
    """Turn whatever the application's code raises into ``AppLoadError(message: what was raised)`` with its traceback.

    Our own two families pass through. All others are failures, ``SystemExit`` too: who calls ``sys.exit`` did not load.
    """
    try:
        yield
    except (AppLoadError, ConfigError):
        raise
    # boundary: the application's code may raise anything, and none of it may end the fork server
    except BaseException as error:
        raise AppLoadError(f"{message}: {one_line(error)}", application_traceback(error)) from error


def application_traceback(error: BaseException) -> str:
    """Format a traceback as the application's author wants to see it.

    The frames of Spawning that lead to the application, and those of the import machinery, are left out, in chained
    exceptions as well.
    """
    shown = traceback.TracebackException.from_exception(error)
    _trim(shown)
    return "".join(shown.format())


def one_line(error: BaseException) -> str:
    """Describe an exception in one line: its type and the first line of its message."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _trim(shown: traceback.TracebackException) -> None:
    frames = [frame for frame in shown.stack if not frame.filename.startswith(_IMPORT_MACHINERY)]
    while frames and frames[0].filename.startswith(_OUR_DIRECTORY):
        del frames[0]
    shown.stack = traceback.StackSummary.from_list(frames)
    for chained in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if chained is not None:
            _trim(chained)


def _split_dotted(parts: list[str], name: str) -> tuple[list[str], list[str]]:
    """Divide ``package.module.attribute`` where the modules end. The last part is an attribute in any case."""
    for count in range(1, len(parts)):
        module = ".".join(parts[:count])
        try:
            import_module(module, name)
        except AppLoadError as error:
            if error.details or count == 1:
                raise
            return parts[: count - 1], parts[count - 1 :]
    return parts[:-1], parts[-1:]


def _attribute(found: Any, attribute: str, path: str, name: str) -> Any:
    with application_errors(f"cannot get {attribute} from {path}"):
        try:
            return getattr(found, attribute)
        except AttributeError as error:
            if _application_stack(error):  # raised by a module's __getattr__ or a property, which has more to say
                raise
    kind = "module" if isinstance(found, ModuleType) else "object"
    origin = getattr(found, "__file__", None)
    close = difflib.get_close_matches(attribute, [item for item in dir(found) if not item.startswith("__")])
    raise AppLoadError(
        f"{kind} {path}{f' ({origin})' if origin else ''} has no {attribute!r}{_wanted(name, path)}"
        + (f"; did you mean {' or '.join(close)}?" if close else "")
    )


def _application_stack(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of an exception's traceback from the first on that is the application's; empty if none is."""
    shown = traceback.TracebackException.from_exception(error)
    _trim(shown)
    return list(shown.stack)


def _is_missing_itself(error: ModuleNotFoundError, module: str) -> bool:
    """Whether `module` (or a package on the way to it) is what is missing, not something that it imports."""
    return not _application_stack(error) and (module == error.name or module.startswith(f"{error.name}."))


def _check_callable(application: Any, name: str) -> None:
    """See that the result can be called with environ and start_response (PEP 3333), as far as that can be known."""
    if not callable(application):
        raise AppLoadError(f"{name} is not callable: it is {_described(application)}, not a WSGI application")
    signature = _signature(application)
    if signature is None:
        return
    try:
        signature.bind({}, print)
    except TypeError:
        hint = _hint(signature)
        raise AppLoadError(f"{name} takes {signature}, not (environ, start_response){hint}") from None


def _signature(application: Any) -> inspect.Signature | None:
    """Find out with which arguments `application` can be called; None where only a call will tell.

    ``inspect.signature`` alone shows what an object says of itself (``__wrapped__``, ``__signature__``), which is that
    of the function inside for all that went through ``functools.wraps``. So it is asked about a copy of the function
    that the call runs, which has nothing but its code. What is written in C, or calls something else, is not known.
    """
    found = _function_called(application)
    if found is None:
        return None
    function, bound = found
    bare = FunctionType(function.__code__, {}, "", function.__defaults__, function.__closure__)
    bare.__kwdefaults__ = function.__kwdefaults__
    try:
        return inspect.signature(MethodType(bare, application) if bound else bare)
    except ValueError:  # a method without even `self`
        return None


def _function_called(application: Any) -> tuple[FunctionType, bool] | None:
    """Return the function in Python that a call runs, and whether the call puts an argument in front (``self``)."""
    function: Any
    bound = True
    if isinstance(application, FunctionType):
        function, bound = application, False
    elif isinstance(application, MethodType):
        function = application.__func__
    elif isinstance(application, type):
        made: Any = application
        if type(made).__call__ is not type.__call__ or made.__new__ is not object.__new__:
            return None
        function = _without_arguments if made.__init__ is object.__init__ else made.__init__
    else:
        function = inspect.getattr_static(type(application), "__call__", None)
        if isinstance(function, staticmethod | classmethod):
            function, bound = function.__func__, isinstance(function, classmethod)
    return (function, bound) if type(function) is FunctionType else None


def _without_arguments(self: object) -> None:
    """Stand for ``object.__init__``."""


def _hint(signature: inspect.Signature) -> str:
    if list(signature.parameters) == ["scope", "receive", "send"]:
        return "; this is an ASGI application, Spawning serves WSGI"
    try:
        signature.bind()
    except TypeError:
        return ""
    return "; if it makes the application, put () behind its name"


def _described(value: Any) -> str:
    return f"module {value.__name__}" if isinstance(value, ModuleType) else f"an object of type {type(value).__name__}"


def _wanted(name: str, part: str) -> str:
    return f" (wanted for {name})" if name and name != part else ""


def _searched() -> str:
    return f"{os.getcwd()} and {max(0, len(sys.path) - 1)} more entries of sys.path"
