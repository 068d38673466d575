"""What people type who come from another server: what it is called here, in one line.

What means the same is accepted, as ``habits`` of the table of settings. Here is the rest: options that do not exist,
words that look like an application and are a file, and values that were meant for the option of that letter elsewhere.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from spawning.errors import ConfigError

_CLASSES = "there are no classes of workers: a view that waits gets a thread (-t), or with -t 0 a greenlet of gevent"
_PASSPHRASE = "others can read arguments: write --key-passphrase-file FILE, or --key-passphrase-command COMMAND"
_ADDRESS = "write --bind ADDRESS"
_ERRORS = "errors are logged to stderr: write --stderr FILE"
_DEADLINE = "write --request-timeout SECONDS, which ends the request and keeps the worker"
_NAMED = "name the application as the argument, such as mysite.wsgi:application"
_VARIABLE = "write NAME=VALUE before spawn, or --env-file FILE"
_TITLE = "processes are called after the application"
_ALWAYS = "there is nothing to be said: it is always so"

ELSEWHERE: Mapping[str, str] = {
    # gunicorn
    "-k": _CLASSES, "--worker-class": _CLASSES,
    "--timeout": _DEADLINE,
    "--error-logfile": _ERRORS, "--log-file": _ERRORS,
    "--log-config-dict": "write --log-config FILE, with that dictionary as TOML or JSON",
    "--worker-tmp-dir": "there is nothing to be said: workers are not watched by a file",
    "--worker-connections": "write --max-connections N",
    "--keep-alive": "write --keepalive-timeout SECONDS",
    "--limit-request-line": "write --max-request-line BYTES",
    "--limit-request-fields": "write --max-fields N",
    "--limit-request-field_size": "write --max-head-bytes BYTES, for the whole head",
    "-n": _TITLE, "--name": _TITLE,
    "-e": _VARIABLE, "--env": _VARIABLE,
    "--paste": "write -f paste FILE", "--paster": "write -f paste FILE",
    "--reload-extra-file": "write -w FILE",
    "--reload-engine": _ALWAYS,
    "--reuse-port": "there is nothing to be said: all workers accept from one socket, which a reload never closes",
    "--cert-reqs": "write --client-certs optional, or required", "--ssl-cert-reqs": "write --client-certs required",
    "--ssl-version": "write --tls-min-version 1.2, or 1.3", "--do-handshake-on-connect": _ALWAYS,
    "--ssl-keyfile-password": _PASSPHRASE,
    # uWSGI
    "--https": "write --bind ADDRESS --certfile FILE --keyfile FILE",
    "--http": _ADDRESS, "--http-socket": _ADDRESS, "--socket": _ADDRESS,
    "--module": _NAMED, "--wsgi-file": _NAMED, "--wsgi": _NAMED,
    "--harakiri": _DEADLINE,
    "--master": _ALWAYS, "--enable-threads": _ALWAYS, "--die-on-term": _ALWAYS, "--lazy-apps": "write --no-preload",
    "--lazy": "write --no-preload",
    "--touch-reload": "write --reload dev -w FILE",
    "--py-autoreload": "write --reload dev",
    "--gevent": "write -t 0 --max-green N",
    "--buffer-size": "write --max-head-bytes BYTES",
    # waitress, uvicorn, granian
    "--listen": _ADDRESS,
    "--call": "write () behind the name of what makes the application: module:create_app()",
    "--app-dir": "write --chdir DIRECTORY", "--interface": "there is nothing to be said: it is WSGI",
    "--root-path": "write --script-name PATH", "--url-prefix": "write --script-name PATH",
    # Django's runserver
    "--noreload": "it does not reload by itself without --reload",
    "--ipv6": "write --host ::1", "-6": "write --host ::1",
}  # fmt: skip
"""Option of another server, that is none here, to what to write."""

_MEANT: Mapping[str, tuple[str, str]] = {
    "watch": (r"\d+", "the number of workers is -s {}, and -w a file to watch"),
    "port": (r".*(/|\.pid).*", "the file for the process id is --pidfile {}"),
    "pythonpath": (r".*,.*", "directories are separated by colons"),
}  # name of a setting, what a value meant for something else looks like, and what to write

_RELOAD = ("-r", "--reload")


def reload_alone(arguments: Sequence[str]) -> list[str]:
    """Take ``--reload`` that no mode follows for ``--reload dev``: it has no value elsewhere.

    >>> reload_alone(["--reload", "hello:app"])
    ['--reload', 'dev', 'hello:app']
    """
    return list(_with_mode(arguments))


def _with_mode(arguments: Sequence[str]) -> Iterator[str]:
    options = True
    for position, word in enumerate(arguments):
        options = options and word != "--"
        yield word
        if options and word in _RELOAD and not _may_be_mode(arguments[position + 1 : position + 2]):
            yield "dev"


def _may_be_mode(words: Sequence[str]) -> bool:
    """Whether what follows stands for a mode, be it a wrong one: no option, and not the name of an application."""
    return any(not word.startswith("-") and not set(".:/") & set(word) for word in words)


_FILE_OF_SETTINGS = re.compile(r"(file|python):.*|.*\.(py|toml|ini|cfg|conf|json|ya?ml)|.*/.*")


def check_config(arguments: Sequence[str]) -> None:
    """See that ``-c``, which is --coverage here, was not meant for a file of settings, as it is for gunicorn.

    :param arguments: as typed. A file behind ``-c`` could be the application as well, which says less than it costs.
    :raises ConfigError: says what to write.
    """
    for word, following in pairwise([*arguments, ""]):
        if word == "--":
            return
        file = word.removeprefix("-c") or following
        if word.startswith("-c") and _FILE_OF_SETTINGS.fullmatch(file):
            raise ConfigError(
                f"option -c is --coverage here: a file of settings is --config FILE, and TOML; {file} could be the"
                " application as well: write --coverage for that"
            )


def check_values(typed: Mapping[str, Any]) -> None:
    """See that no value was meant for another option of that letter.

    :param typed: name of a setting to the values on the command line, several ones as a tuple.
    :raises ConfigError: says what to write.
    """
    for name, (pattern, instead) in _MEANT.items():
        values = typed.get(name, ())
        for value in (values,) if isinstance(values, str) else values:
            if re.fullmatch(pattern, value):
                raise ConfigError(f"option --{name}: {value!r} cannot be meant: {instead.format(value)}")
