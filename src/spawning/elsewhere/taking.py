"""How values of gunicorn's settings become ours: a function for each that is not the same.

Each gets the value and all settings, and returns what :class:`spawning.elsewhere.rows.Row` says of ``take``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from spawning.elsewhere.rows import Conf, Remark

_PORT: Final = "8000"  # of an address that names none
_COMBINED: Final = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
_HEAD: Final = 131072
_CLASSES: Final = {
    "gthread": "gthread", "thread": "gthread", "gevent": "gevent", "eventlet": "eventlet", "tornado": "tornado",
    "uvicorn": "asgi", "asgi": "asgi", "meinheld": "meinheld", "aiohttp": "aiohttp", "sync": "sync",
}  # fmt: skip  # what is in the name of a class of workers; asked in this order


def nothing(value: Any, conf: Conf) -> None:
    """Take nothing, without a comment: the row of another setting has it."""


def or_nothing(value: Any, conf: Conf) -> Any:
    return value or None


def as_list(value: Any) -> list[Any]:
    """Take a list, or a text with commas, as gunicorn does."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, Iterable):
        return list(value)
    return [] if value is None else [value]


def listed(value: Any, conf: Conf) -> list[Any] | None:
    return as_list(value) or None


def is_on(value: Any) -> bool:
    """Take a switch, which may be a text."""
    return value.strip().lower() in ("true", "1", "yes", "on") if isinstance(value, str) else bool(value)


# The application -----------------------------------------------------------------------------------------------------


def application(value: Any, conf: Conf) -> Any:
    if isinstance(value, str) and re.search(r"\([^)]", value):
        return Remark(f"{value}: a function is called without arguments here; write one without them")
    return value or None


def environment(value: Any, conf: Conf) -> Any:
    lines = as_list(value) if not isinstance(value, str) else [value]
    return Remark(f"write a file with these lines, and name it as env-file: {'; '.join(map(str, lines))}")


def directories(value: Any, conf: Conf) -> list[Any] | None:
    return as_list(value) or None


def paste_global(value: Any, conf: Conf) -> list[Any] | None:
    return as_list(value) or None if conf.values.get("paste") else None


# Addresses and proxies -----------------------------------------------------------------------------------------------


def bind(value: Any, conf: Conf) -> Any:
    if "bind" not in conf.said and conf.environ.get("PORT"):
        return None  # both take what it says, on every address
    items = [_address(str(item), conf) for item in as_list(value)]
    return items or None


def _address(item: str, conf: Conf) -> str:
    unix = re.fullmatch(r"unix:(?://)?(.+)", item)
    properties = ["proxy"] if _proxy_protocol(conf) else []
    if unix:
        mode = 0o666 & ~mask(conf.values.get("umask") or 0)
        place, properties = f"unix:{unix[1]}", [f"mode={mode:03o}", *properties]
    elif item.startswith("fd://"):
        place = f"fd:{item.removeprefix('fd://')}"
    else:
        place = item.removeprefix("tcp://")
        if not re.search(r":\d+$", place) or place.endswith("]"):
            place = f"{place.rstrip(':')}:{_PORT}"
    return f"{place}?{'&'.join(properties)}" if properties else place


def _proxy_protocol(conf: Conf) -> bool:
    value = conf.values.get("proxy_protocol")
    return str(value).lower() in ("true", "auto", "v1", "v2")


def proxies(value: Any, conf: Conf) -> Any:
    if "forwarded_allow_ips" not in conf.said and conf.environ.get("FORWARDED_ALLOW_IPS"):
        return None
    peers = as_list(value)
    return peers if not peers or "*" in peers or "unix" in peers else [*peers, "unix"]


def proxy_peers(value: Any, conf: Conf) -> Any:
    return as_list(value) if _proxy_protocol(conf) else None


def protocol(value: Any, conf: Conf) -> Any:
    return None if value == "http" else Remark(f"{value} is not spoken; the proxy in front has to speak HTTP")


def scheme_fields(value: Any, conf: Conf) -> Any:
    others = [name for name in value if str(name).upper() not in ("X-FORWARDED-PROTO", "X-FORWARDED-PROTOCOL")]
    if not others and "X-FORWARDED-PROTO" in {str(name).upper() for name in value}:
        return None
    return Remark("of a trusted proxy X-Forwarded-Proto and Forwarded count, and no others: have it set one of them")


# Workers -------------------------------------------------------------------------------------------------------------


def worker_kind(conf: Conf) -> str:
    """Return what the class of workers is: a value of the table above, ``gthread`` also for threads that were asked of
    the sync worker; the name itself if it is none of these.
    """
    value = conf.values.get("worker_class")
    name = value if isinstance(value, str) else getattr(value, "__name__", str(value))
    kind = next((kind for word, kind in _CLASSES.items() if word in name.lower()), name)
    return "gthread" if kind == "sync" and number(conf.values.get("threads", 1)) > 1 else kind


def worker_class(value: Any, conf: Conf) -> Any:
    kind = worker_kind(conf)
    if kind in ("sync", "gthread", "gevent"):
        return None
    if kind == "eventlet":
        return Remark("eventlet: its maintainers retire it; coroutines are gevent's here, write threads = 0")
    if kind in ("asgi", "aiohttp"):
        return Remark(f"{value}: applications are WSGI here, and ASGI is not there yet; name a WSGI application")
    return Remark(f"{value}: there are no classes of workers; a view that waits gets a thread")


def workers(value: Any, conf: Conf) -> Any:
    return None if "workers" not in conf.said and conf.environ.get("WEB_CONCURRENCY") else value


def threads(value: Any, conf: Conf) -> Any:
    kind = worker_kind(conf)
    if kind == "gevent":
        return 0
    return number(value) if kind in ("sync", "gthread") else None


def timeout(value: Any, conf: Conf) -> Any:
    if worker_kind(conf) == "sync":
        return value
    return Remark("with that class of workers it is no limit of a request; request-timeout would be one")


def number(value: Any) -> int:
    """Take a whole number, which may be a text."""
    return int(value)


@dataclass(frozen=True, slots=True)
class Limit:
    """Takes a limit of which 0 is none there, while here there is always one."""

    highest: int

    def __call__(self, value: Any, conf: Conf) -> int:
        return number(value) or self.highest


def field_size(value: Any, conf: Conf) -> int | None:
    size = number(value)
    return 2**24 if size == 0 else size if size > _HEAD else None


def reload(value: Any, conf: Conf) -> str | None:
    return "dev" if is_on(value) else None


# The process, and its logs -------------------------------------------------------------------------------------------


def mask(value: Any) -> int:
    """Take a mask of permissions: a number, or a text that is octal when it begins with 0."""
    if isinstance(value, str):
        return int(value, 8) if re.fullmatch("0[0-7]+", value) else int(value, 0)
    return number(value)


def umask(value: Any, conf: Conf) -> str:
    return f"{mask(value):03o}"


def user(value: Any, conf: Conf) -> str | None:
    return None if value is None else str(value)


def group(value: Any, conf: Conf) -> Any:
    if value is not None and conf.values.get("user") is None:
        return Remark("a group without a user: write chuid too")
    return None if value is None else str(value)


def access_log(value: Any, conf: Conf) -> Any:
    if value is not None:
        return value
    return _to_syslog(conf) if is_on(conf.values.get("syslog")) else "/dev/null"


def access_format(value: Any, conf: Conf) -> Any:
    return None if value == _COMBINED else value


def error_log(value: Any, conf: Conf) -> Any:
    return None if value in ("-", None) else value


def log_level(value: Any, conf: Conf) -> str:
    level = str(value).lower()
    return {"critical": "error", "warn": "warning", "notset": "debug"}.get(level, level)


def _to_syslog(conf: Conf) -> str:
    address = str(conf.values.get("syslog_addr"))
    scheme, _, place = address.partition("://")
    place = place.partition("#")[0] if scheme == "unix" else place
    facility, tag = conf.values.get("syslog_facility"), conf.values.get("syslog_prefix")
    named = [f"facility={facility}", f"tag={f'gunicorn.{tag}' if tag else 'gunicorn'}"]
    return f"syslog:{','.join([place, *named])}"


def syslog(value: Any, conf: Conf) -> Any:
    if not is_on(value):
        return None
    return Remark(
        "access lines can go to syslog; the error log goes to stderr, from where systemd or logger(1) take it"
    )


def statsd_host(value: Any, conf: Conf) -> Any:
    if isinstance(value, tuple):
        return ":".join(map(str, value))
    return value.replace("unix://", "unix:") if isinstance(value, str) else value


def tags(value: Any, conf: Conf) -> list[Any] | None:
    return as_list(value) or None


def prefix(value: Any, conf: Conf) -> Any:
    return str(value).rstrip(".") or None


# TLS -----------------------------------------------------------------------------------------------------------------


def tls_version(value: Any, conf: Conf) -> Any:
    return Remark("gunicorn does not look at it any more, and the oldest version is 1.2 here")


def client_certificates(value: Any, conf: Conf) -> str | None:
    return {1: "optional", 2: "required"}.get(number(value))


def http_protocols(value: Any, conf: Conf) -> Any:
    return None if as_list(value) == ["h1"] else Remark("HTTP/2 is not there yet; a proxy in front may speak it")
