"""What a value may be: each function turns text, or a plain value of a file, into a setting's type.

Rules: it raises ``ValueError`` or ``TypeError`` whose message says what would be right, so that it can follow "is not":
``'http' is not a whole number from 0 to 65535``. Nothing here knows where a value comes from.
"""

import ipaddress
import math
import re
from dataclasses import dataclass
from typing import Any

from spawning import address
from spawning.settings import destination, log_format

FACTORY_SHORT_NAMES = {
    "wsgi": "spawning.wsgi_factory.config_factory",
    "django": "spawning.django_factory.config_factory",
    "paste": "spawning.paste_factory.config_factory",
}


def text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a text with at least one character, and without NUL")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """Take a list of texts; one text (from a configuration file) holds one item a line."""
    if isinstance(value, str):
        value = [line.strip() for line in value.splitlines() if line.strip()]
    elif not isinstance(value, list | tuple):
        raise TypeError("a list of texts")
    return tuple(text(item) for item in value)


def directories(value: Any) -> tuple[str, ...]:
    """Take directories, separated by colons as in ``PYTHONPATH``, in one text or several."""
    return tuple(item for each in texts(value) for item in each.split(":") if item)


def peers(value: Any) -> tuple[str, ...]:
    """Take addresses, networks, ``unix`` and ``*``, separated by commas, in one text or several."""
    items = [item.strip() for each in texts(value) for item in each.split(",") if item.strip()]
    for item in items:
        try:
            if item not in ("*", "unix"):
                ipaddress.ip_network(item)
        except ValueError:
            expected = "a list of addresses, networks such as 10.0.0.0/8, unix, or *"
            raise ValueError(f"{expected}: look at {item!r}") from None
    return tuple(items)


def addresses(value: Any) -> tuple[str, ...]:
    """Take addresses to listen on."""
    items = texts(value)
    for item in items:
        try:
            address.parse(item)
        except ValueError as error:
            raise ValueError(f"{error}: look at {item!r}" if len(items) > 1 else str(error)) from None
    return items


def client_certs(value: Any) -> str:
    if value not in ("optional", "required"):
        raise ValueError("'optional' or 'required'")
    return str(value)


def tls_version(value: Any) -> str:
    if str(value) not in ("1.2", "1.3"):
        raise ValueError("1.2 or 1.3")
    return str(value)


def umask(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch("(0o|0)?[0-7]{1,3}", value):
        raise ValueError("a mask of permissions as an octal text, such as 027")
    return value


def host_to_bind(value: Any) -> str:
    """Take a host to bind, without a port."""
    host = text(value)
    both = re.fullmatch(r"(?:\[([^]]+)\]|([^:/]*)):([0-9]+)", host)
    if both:
        alone = f"--host {both[1] or both[2]} " if both[1] or both[2] else ""
        raise ValueError(f"a host alone: write {alone}--port {both[3]}, or --bind {host}")
    if "/" in host:
        raise ValueError("a host, such as 0.0.0.0 or localhost")
    return host


def optional_text(value: Any) -> str | None:
    return None if value is None else text(value)


def account(value: Any) -> str | None:
    return _named(value, r"[^:\s]+(:[^:\s]+)?", "USER or USER:GROUP, by name or number")


def group(value: Any) -> str | None:
    return _named(value, r"[^:\s]+", "a group, by name or number")


def _named(value: Any, pattern: str, wanted: str) -> str | None:
    if value is None:
        return None
    try:
        name = str(value) if type(value) is int and value >= 0 else text(value)
    except (TypeError, ValueError):
        name = ""
    if not re.fullmatch(pattern, name) or not all(map(_may_be_number, name.split(":"))):
        raise ValueError(wanted)
    return name


def _may_be_number(name: str) -> bool:
    return not name.isdecimal() or int(name) < 2**32 - 1


def switch(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off"):
            return False
    if value not in (None, 0, 1):  # True and False are among them
        raise TypeError("true or false")
    return bool(value)


@dataclass(frozen=True, slots=True)
class Integer:
    """Takes whole numbers from `low` to `high`."""

    low: int
    high: int

    def __call__(self, value: Any) -> int:
        try:
            number = self.low - 1 if isinstance(value, bool) else int(value)
        except (TypeError, ValueError, OverflowError):
            number = self.low - 1
        if not self.low <= number <= self.high or (isinstance(value, float) and value != number):
            raise ValueError(f"a whole number from {self.low} to {self.high}")
        return number


AUTO = "auto"
_MEGABYTES = Integer(0, 2**40)


def most_memory(value: Any) -> int | str:
    """Take megabytes, or ``auto``: what the control group allows."""
    if value == AUTO:
        return AUTO
    try:
        return _MEGABYTES(value)
    except ValueError as error:
        raise ValueError(f"{error}, or {AUTO}") from None


def seconds(value: Any) -> float:
    number = _number(value)
    if not 0 < number < math.inf:
        raise ValueError("a number of seconds above 0")
    return number


def seconds_or_none(value: Any) -> float:
    number = _number(value)
    if not 0 <= number < math.inf:
        raise ValueError("a number of seconds, or 0")
    return number


def _number(value: Any) -> float:
    """Read a number; what is none is below all limits."""
    try:
        return -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return -1.0


def reload(value: Any) -> str | None:
    if value not in (None, "dev", "git"):
        raise ValueError("'dev' (when files change) or 'git' (when another commit is checked out)")
    return None if value is None else str(value)


def path(value: Any) -> str | None:
    """Take the path (and query) of a request."""
    if value is None:
        return None
    target = text(value)
    if not re.fullmatch(r"/[!-~]*", target) or "#" in target:
        raise ValueError("the path of a request, such as /healthz (percent-encoded, starting with a slash)")
    return target


def script_name(value: Any) -> str | None:
    if value is None:
        return None
    below = text(value)
    if not re.fullmatch(r"(/[^/?#%\s]+)*/?", below) or not below.isprintable():
        raise ValueError("a path such as /shop (not percent-encoded, starting with a slash)")
    return below.rstrip("/") or None


def field_value(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[ -~]*", value) or value != value.strip():
        raise ValueError("printable ASCII, as in a header field")
    return value


def field_name(value: Any) -> str | None:
    if value is None:
        return None
    name = text(value)
    if not re.fullmatch(r"[0-9A-Za-z-]+", name):
        raise ValueError("the name of a header field, such as X-Request-ID")
    return name


def paths(value: Any) -> tuple[str, ...]:
    return tuple(path(item) or "" for item in texts(value))


def host(value: Any) -> str | None:
    if value is None:
        return None
    name = text(value)
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]+)?", name, re.ASCII):
        raise ValueError("what a Host field holds, such as www.example.com or localhost:8080")
    return name


def statuses(value: Any) -> str:
    wanted = str(value)
    try:
        low, high = status_range(wanted)
    except ValueError:
        low, high = 0, 0
    if not 100 <= low <= high <= 599:
        raise ValueError("a status such as 204, or a range such as 200-399")
    return wanted


def status_range(text: str) -> tuple[int, int]:
    """Read ``"200-399"`` or ``"204"`` as the lowest and the highest status.

    :raises ValueError: it is neither.
    """
    low, dash, high = text.partition("-")
    return int(low), int(high if dash else low)


LOG_LEVELS = ("debug", "info", "warning", "error")


def log_level(value: Any) -> str:
    wanted = value.lower() if isinstance(value, str) else value
    if wanted not in LOG_LEVELS:
        raise ValueError(f"a level: {', '.join(LOG_LEVELS)}")
    return str(wanted)


def form_of_log(value: Any) -> str:
    if value not in ("text", log_format.JSON):
        raise ValueError("text or json")
    return str(value)


def access_log_format(value: Any) -> str:
    wanted = text(value)
    if wanted not in (log_format.COMBINED, log_format.JSON):
        if "%" not in wanted:
            raise ValueError("combined, json, or a format in atoms of gunicorn or Apache, such as '%h %r %s %D'")
        log_format.parts(wanted)
    return wanted


def access_log_file(value: Any) -> str:
    name = text(value)
    destination.syslog(name)
    return name


def factory(value: Any) -> str:
    name = text(value)
    if name in FACTORY_SHORT_NAMES:
        return FACTORY_SHORT_NAMES[name]
    for path in FACTORY_SHORT_NAMES.values():
        if name == path.rpartition(".")[0]:
            return path
    if "." not in name and ":" not in name:
        raise ValueError(f"a dotted path such as package.module.config_factory, or {', '.join(FACTORY_SHORT_NAMES)}")
    return name


def token(value: Any) -> str | None:
    if value is None:
        return None
    known = text(value)
    if not re.fullmatch(r"[!-~]{8,}", known):
        raise ValueError("a token of at least 8 printable ASCII characters without spaces")
    return known


def statsd_address(value: Any) -> str | None:
    if value is None:
        return None
    named = text(value)
    host, colon, port = named.rpartition(":")
    if named.startswith("unix:") and len(named) > 5:
        return named
    if not (colon and host and port.isdecimal() and port.isascii() and 0 < int(port) < 65536):
        raise ValueError("HOST:PORT, such as localhost:8125, or unix:PATH")
    return named


def statsd_prefix(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]+", value, re.ASCII):
        raise ValueError("letters, digits, dots, dashes and underscores")
    return value


def statsd_tags(value: Any) -> tuple[str, ...]:
    """Take tags, separated by commas, in one text or several."""
    items = [item.strip() for each in texts(value) for item in each.split(",") if item.strip()]
    for item in items:
        if not re.fullmatch(r"[\w./-]+(:[\w./:-]*)?", item):
            raise ValueError(f"a list of tags such as env:live: look at {item!r}")
    return tuple(items)
