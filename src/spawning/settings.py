"""The one table of settings.

Each field of :class:`Settings` is a setting: its name is its key in the dictionary that a factory's ``config_factory``
gets and gives back (the names are those of the original Spawning); its metadata holds command-line flags, environment
variable and help. The command line, the factories' dictionary and the documentation derive from this table.

What is said in several places: the command line beats the factory (and its file), the factory beats the environment
variable, the variable beats the default. ``explicit`` is how a factory knows what the command line has said.
"""

import dataclasses
import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spawning import address
from spawning.errors import ConfigError

FACTORY_SHORT_NAMES = {
    "wsgi": "spawning.wsgi_factory.config_factory",
    "django": "spawning.django_factory.config_factory",
    "paste": "spawning.paste_factory.config_factory",
}


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting is reached from outside.

    :param flags: command-line spellings; empty when only a factory may set it.
    :param parse: turns text or a plain value into the setting's type; raises ``ValueError`` or ``TypeError`` that says
        what would be right.
    :param help: one line for ``--help`` and the documentation.
    :param metavar: the placeholder in ``--help``; empty for a switch.
    :param env: the environment variable that replaces the default, if it is set and not empty.
    :param group: the heading under which ``--help`` and the documentation list it.
    :param again: what to do instead of giving it a second time on the command line, which is an error then; empty: the
        last one counts.
    """

    flags: tuple[str, ...]
    parse: Callable[[Any], Any]
    help: str
    metavar: str = ""
    env: str = ""
    group: str = ""
    again: str = ""

    @property
    def flag(self) -> str:
        """The spelling that messages use: the longest one, or empty when only a factory may set it."""
        return max((flag for flag in self.flags if flag not in self.opposites), key=len, default="")

    @property
    def opposites(self) -> tuple[str, ...]:
        """The spellings that switch off what is on by default: ``--no-X`` beside ``--X``."""
        return tuple(flag for flag in self.flags if flag.startswith("--no-") and f"--{flag[5:]}" in self.flags)

    @property
    def is_switch(self) -> bool:
        """Whether the option stands alone on the command line, without a value."""
        return not self.metavar


def usable_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the processors that this process may use: affinity, and the CPU quota of its control group (rounded up)."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        if quota != "max":
            count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no control group of version 2, or none of ours: affinity is all there is to know
    return max(1, count)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text (and not empty)")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    """Take a list of texts; one text (from a configuration file) holds one item a line."""
    if isinstance(value, str):
        value = [line.strip() for line in value.splitlines() if line.strip()]
    elif not isinstance(value, list | tuple):
        raise TypeError("a list of texts")
    return tuple(_text(item) for item in value)


def _peers(value: Any) -> tuple[str, ...]:
    """Take addresses, networks, ``unix`` and ``*``, separated by commas, in one text or several."""
    items = [item.strip() for text in _texts(value) for item in text.split(",") if item.strip()]
    for item in items:
        try:
            if item not in ("*", "unix"):
                ipaddress.ip_network(item)
        except ValueError:
            expected = "a list of addresses, networks such as 10.0.0.0/8, unix, or *"
            raise ValueError(f"{expected}: look at {item!r}") from None
    return tuple(items)


def _addresses(value: Any) -> tuple[str, ...]:
    """Take addresses to listen on."""
    texts = _texts(value)
    for text in texts:
        try:
            address.parse(text)
        except ValueError as error:
            raise ValueError(f"{error}: look at {text!r}" if len(texts) > 1 else str(error)) from None
    return texts


def _umask(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch("(0o|0)?[0-7]{1,3}", value):
        raise ValueError("a mask of permissions as an octal text, such as 027")
    return value


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _switch(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off"):
            return False
    if not isinstance(value, bool | int | None):
        raise TypeError("true or false")
    return bool(value)


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = low - 1
        if not low <= number <= high or (isinstance(value, float) and value != number):
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def _seconds(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < math.inf:
        raise ValueError("a number of seconds above 0")
    return number


def _seconds_or_none(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < math.inf:
        raise ValueError("a number of seconds, or 0")
    return number


def _reload(value: Any) -> str | None:
    if value not in (None, "dev", "git"):
        raise ValueError("'dev' (when files change) or 'git' (when another commit is checked out)")
    return None if value is None else str(value)


def _path(value: Any) -> str | None:
    """Take the path (and query) of a request."""
    if value is None:
        return None
    text = _text(value)
    if not re.fullmatch(r"/[!-~]*", text) or "#" in text:
        raise ValueError("the path of a request, such as /healthz (percent-encoded, starting with a slash)")
    return text


def _script_name(value: Any) -> str | None:
    if value is None:
        return None
    text = _text(value)
    if not re.fullmatch(r"(/[^/?#%\s]+)*/?", text) or not text.isprintable():
        raise ValueError("a path such as /shop (not percent-encoded, starting with a slash)")
    return text.rstrip("/") or None


def _field_value(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[ -~]*", value) or value != value.strip():
        raise ValueError("printable ASCII, as in a header field")
    return value


def _field_name(value: Any) -> str | None:
    if value is None:
        return None
    text = _text(value)
    if not re.fullmatch(r"[0-9A-Za-z-]+", text):
        raise ValueError("the name of a header field, such as X-Request-ID")
    return text


def _paths(value: Any) -> tuple[str, ...]:
    return tuple(_path(item) or "" for item in _texts(value))


def _host(value: Any) -> str | None:
    if value is None:
        return None
    text = _text(value)
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]+)?", text, re.ASCII):
        raise ValueError("what a Host field holds, such as www.example.com or localhost:8080")
    return text


def _statuses(value: Any) -> str:
    text = str(value)
    try:
        low, high = status_range(text)
    except ValueError:
        low, high = 0, 0
    if not 100 <= low <= high <= 599:
        raise ValueError("a status such as 204, or a range such as 200-399")
    return text


def status_range(text: str) -> tuple[int, int]:
    """Read ``"200-399"`` or ``"204"`` as the lowest and the highest status.

    :raises ValueError: it is neither.
    """
    low, dash, high = text.partition("-")
    return int(low), int(high if dash else low)


def _factory(value: Any) -> str:
    name = _text(value)
    if name in FACTORY_SHORT_NAMES:
        return FACTORY_SHORT_NAMES[name]
    if "." not in name and ":" not in name:
        raise ValueError(f"a dotted path such as package.module.config_factory, or {', '.join(FACTORY_SHORT_NAMES)}")
    return name


def _option(
    default: Any,
    *flags: str,
    parse: Callable[[Any], Any],
    help: str,
    metavar: str = "",
    env: str = "",
    group: str = "",
    again: str = "",
) -> Any:
    metadata = {"option": Option(flags, parse, help, metavar, env, group, again)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


_APPLICATION, _NETWORK, _WORKERS = "Application", "Network", "Workers"
_RELOAD, _PROCESS, _LIMITS = "Reload", "Logs and process", "Limits towards clients"
_RECYCLING = "Recycling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, checked. Nobody changes one after start; a generation may have been given other values than its
    predecessor by its factory. Times are in seconds, sizes in bytes.
    """

    # fmt: off
    # What only the command line and the factory say to each other.
    args: tuple[str, ...] = _option((), parse=_texts, help="APP and the MIDDLEWARE names, or what the factory expects.")
    explicit: tuple[str, ...] = _option(
        (), parse=_texts, help="Names of the settings given on the command line; a factory's file does not change them."
    )

    factory: str = _option(
        FACTORY_SHORT_NAMES["wsgi"], "-f", "--factory", parse=_factory, metavar="FACTORY", group=_APPLICATION,
        help="Dotted path of a config_factory, or one of wsgi, django, paste.",
    )
    script_name: str | None = _option(
        None, "--script-name", parse=_script_name, metavar="PATH", env="SCRIPT_NAME", group=_APPLICATION,
        help="The path that the application is below, as SCRIPT_NAME; PATH_INFO is what follows. Others get 404.",
    )
    no_preload: bool = _option(
        False, "--no-preload", parse=_switch, group=_APPLICATION,
        help="Let each worker import the application itself, for one that does not survive a fork.",
    )

    host: str = _option(
        "127.0.0.1", "-i", "--host", parse=_text, metavar="HOST", group=_NETWORK, again="use --bind for more addresses",
        help="Address to bind: a name, IPv4 or IPv6; with the variable PORT alone it is every address.",
    )
    port: int = _option(
        8080, "-p", "--port", parse=_integer(0, 65535), metavar="PORT", env="PORT", group=_NETWORK,
        again="use --bind for more addresses",
        help="Port to bind; 0 lets the kernel choose, and the ready line says which.",
    )
    bind: tuple[str, ...] = _option(
        (), "-b", "--bind", parse=_addresses, metavar="ADDRESS", group=_NETWORK,
        help="Where to listen: HOST:PORT, :PORT, unix:/path, unix:@name, fd:N or systemd:NAME; may be repeated.",
    )
    backlog: int = _option(
        2048, "--backlog", parse=_integer(1, 2**31 - 1), metavar="N", group=_NETWORK,
        help="Connections that may wait to be accepted (the kernel may bound it lower).",
    )
    no_keepalive: bool = _option(
        False, "--no-keepalive", parse=_switch, group=_NETWORK, help="Close each connection after its response.",
    )
    forwarded_allow_ips: tuple[str, ...] = _option(
        (), "--forwarded-allow-ips", parse=_peers, metavar="ADDRESS,…", env="FORWARDED_ALLOW_IPS", group=_NETWORK,
        help="Proxies whose Forwarded and X-Forwarded-… fields count: addresses, networks, unix, or * for every peer.",
    )
    proxy_allow_ips: tuple[str, ...] = _option(
        ("127.0.0.1", "::1", "unix"), "--proxy-allow-ips", parse=_peers, metavar="ADDRESS,…", group=_NETWORK,
        help="Who has to begin with a PROXY protocol header, where ?proxy is on: addresses, networks, unix, or *.",
    )

    server_header: str = _option(
        "spawning", "--server-header", parse=_field_value, metavar="TEXT", group=_NETWORK,
        help="The Server field of every response; empty leaves it out.",
    )
    allow_connect: bool = _option(
        False, "--allow-connect", parse=_switch, group=_NETWORK,
        help="Let the application answer CONNECT; otherwise the answer is 501.",
    )

    num_processes: int = _option(
        usable_cpus, "-s", "--processes", parse=_integer(1, 1024), metavar="N", env="WEB_CONCURRENCY", group=_WORKERS,
        help="Workers; by default one for each usable CPU.",
    )
    threadpool_workers: int = _option(
        16, "-t", "--threads", parse=_integer(1, 4096), metavar="N", group=_WORKERS,
        help="Most request threads a worker.",
    )
    deadman_timeout: float = _option(
        120.0, "--deadman_timeout", "--deadman", parse=_seconds, metavar="SECONDS", group=_WORKERS,
        help="How long an old worker may take to finish its requests.",
    )
    drain_delay: float = _option(
        0.0, "--drain-delay", parse=_seconds_or_none, metavar="SECONDS", group=_WORKERS,
        help="How long to serve on after a stop was asked for, with --ready-path at 503, for load balancers to notice.",
    )
    request_timeout: float = _option(
        0.0, "--request-timeout", parse=_seconds_or_none, metavar="SECONDS", group=_WORKERS,
        help="How long the application may take, or go on without sending anything; 0 is for ever.",
    )
    queue_timeout: float = _option(
        0.0, "--queue-timeout", parse=_seconds_or_none, metavar="SECONDS", group=_WORKERS,
        help="How long a request may wait for a thread before it is answered 503; 0 is for ever.",
    )
    health_paths: tuple[str, ...] = _option(
        (), "--health-path", parse=_paths, metavar="PATH", group=_WORKERS,
        help="Requests for this path (and --ready-path) go before others that wait, for ever; may be repeated.",
    )
    boot_timeout: float = _option(
        60.0, "--boot-timeout", parse=_seconds, metavar="SECONDS", group=_WORKERS,
        help="How long a generation may take to become ready.",
    )
    ready_path: str | None = _option(
        None, "--ready-path", parse=_path, metavar="PATH", group=_WORKERS,
        help="GET this path of the application before it serves; a generation that does not answer well is refused.",
    )
    ready_status: str = _option(
        "200-299", "--ready-status", parse=_statuses, metavar="STATUS", group=_WORKERS,
        help="The status, or range of statuses, that --ready-path must answer with.",
    )
    ready_host: str | None = _option(
        None, "--ready-host", parse=_host, metavar="HOST", group=_WORKERS,
        help="The Host of that request; by default the address that is bound.",
    )

    max_requests: int = _option(
        0, "--max-requests", parse=_integer(0, 2**62), metavar="N", group=_RECYCLING,
        help="Replace a worker after about that many requests; 0 is off.",
    )
    max_requests_jitter: int = _option(
        0, "--max-requests-jitter", parse=_integer(0, 2**62), metavar="N", group=_RECYCLING,
        help="Most requests added to --max-requests by chance, for each worker.",
    )
    max_age: float = _option(
        0.0, "-a", "--max-age", parse=_seconds_or_none, metavar="SECONDS", group=_RECYCLING,
        help="Replace a worker of that age; 0 is off.",
    )
    max_worker_memory: int = _option(
        0, "--max-worker-memory", parse=_integer(0, 2**40), metavar="MB", group=_RECYCLING,
        help="Replace a worker whose memory (its share of shared pages) is above; 0 is off.",
    )
    max_memory: int = _option(
        0, "-m", "--max-memory", parse=_integer(0, 2**40), metavar="MB", group=_RECYCLING,
        help="Reload when the memory of all processes together is above; 0 is off.",
    )

    reload: str | None = _option(
        None, "-r", "--reload", parse=_reload, metavar="dev|git", group=_RELOAD,
        help="dev: reload when a loaded module or a watched file changes; git: when another commit is checked out.",
    )
    watch: tuple[str, ...] = _option(
        (), "-w", "--watch", parse=_texts, metavar="FILE", group=_RELOAD,
        help="With --reload dev: one more file or directory to watch; may be repeated.",
    )

    keep_previous: float = _option(
        300.0, "--keep-previous", parse=_seconds_or_none, metavar="SECONDS", group=_RELOAD,
        help="How long the generation before stays in memory, for spawnctl rollback; 0 is not at all.",
    )
    auto_rollback: bool = _option(
        True, "--auto-rollback", "--no-auto-rollback", parse=_switch, group=_RELOAD,
        help="Go back to the generation before when all workers of the new one crash within 10 s of the cutover.",
    )

    access_log_file: str = _option(
        "-", "-l", "--access-log-file", parse=_text, metavar="FILE", group=_PROCESS,
        help="Where access lines go; - is stdout, /dev/null switches the log off.",
    )
    request_id_header: str | None = _option(
        None, "--request-id-header", parse=_field_name, metavar="NAME", group=_PROCESS,
        help="Give each request a REQUEST_ID, from this field of a trusted proxy or made, and log it.",
    )
    pidfile: str | None = _option(
        None, "--pidfile", parse=_optional_text, metavar="FILE", group=_PROCESS,
        help="Where to write the controller's process id.",
    )
    control_socket: str | None = _option(
        None, "--control-socket", parse=_optional_text, metavar="PATH", group=_PROCESS,
        help="Where spawnctl reaches the controller; by default in the runtime directory, named after the address.",
    )
    umask: str | None = _option(
        None, "--umask", parse=_umask, metavar="MASK", group=_PROCESS,
        help="Permissions that new files are not to have, octal; by default those of who starts the server.",
    )
    verbose: bool = _option(False, "-v", "--verbose", parse=_switch, group=_PROCESS, help="Log details (level debug).")

    # Where each default comes from: docs/settings.md.
    keepalive_timeout: float = _option(
        75.0, "--keepalive-timeout", parse=_seconds_or_none, metavar="SECONDS", group=_LIMITS,
        help="How long an idle connection is kept; 0 closes each connection after its response.",
    )
    head_timeout: float = _option(
        30.0, "--head-timeout", parse=_seconds, metavar="SECONDS", group=_LIMITS,
        help="How long a client may take to send the head of a request, in total.",
    )
    body_timeout: float = _option(
        30.0, "--body-timeout", parse=_seconds, metavar="SECONDS", group=_LIMITS,
        help="How long a client may send nothing of a request's body.",
    )
    min_body_rate: int = _option(
        500, "--min-body-rate", parse=_integer(0, 2**40), metavar="BYTES", group=_LIMITS,
        help="Bytes of a body a second, on average after the first --body-timeout; 0 is off.",
    )
    response_timeout: float = _option(
        60.0, "--response-timeout", parse=_seconds, metavar="SECONDS", group=_LIMITS,
        help="How long a client may take nothing of a response.",
    )
    min_response_rate: int = _option(
        0, "--min-response-rate", parse=_integer(0, 2**40), metavar="BYTES", group=_LIMITS,
        help="Bytes of a response a second, on average after the first --response-timeout; 0 is off.",
    )
    max_kept_output: int = _option(
        2**26, "--max-kept-output", parse=_integer(0, 2**50), metavar="BYTES", group=_LIMITS,
        help="Memory a worker for what slow clients have not taken yet; beyond it goes to temporary files.",
    )
    max_waiting_writers: int = _option(
        256, "--max-waiting-writers", parse=_integer(0, 10000), metavar="N", group=_LIMITS,
        help="Threads a worker that may wait for their clients without counting as one of --threads.",
    )
    max_request_line: int = _option(
        16384, "--max-request-line", parse=_integer(32, 2**24), metavar="BYTES", group=_LIMITS,
        help="Longest request line.",
    )
    max_head_bytes: int = _option(
        65536, "--max-head-bytes", parse=_integer(256, 2**24), metavar="BYTES", group=_LIMITS,
        help="Largest head of a request: its line and its fields.",
    )
    max_fields: int = _option(
        100, "--max-fields", parse=_integer(1, 10000), metavar="N", group=_LIMITS,
        help="Most fields in the head of a request.",
    )
    max_body_bytes: int = _option(
        2**30, "--max-body-bytes", parse=_integer(0, 2**62), metavar="BYTES", group=_LIMITS,
        help="Largest body of a request; 0 is unlimited.",
    )
    max_connections: int = _option(
        20000, "--max-connections", parse=_integer(0, 2**20), metavar="N", group=_LIMITS,
        help="Most connections a worker; 0 is as many as there are descriptors.",
    )
    # fmt: on


def options() -> dict[str, Option]:
    """List the table: setting name to :class:`Option`, in the order of ``--help``."""
    return {item.name: item.metadata["option"] for item in dataclasses.fields(Settings)}


OPTIONS = options()
DEFAULTS = {item.name: item.default for item in dataclasses.fields(Settings) if item.default is not dataclasses.MISSING}
"""Setting name to default, for those whose default is the same on every machine."""


def parsed(name: str, value: Any, origin: str) -> Any:
    """Turn a plain value (text, or already of the right type) into that of setting `name`.

    :param origin: where the value came from, for the error message (``option --port``, a file and section …).
    :raises ConfigError: the value cannot be used; names it, where it came from and what would be right.
    """
    try:
        return OPTIONS[name].parse(value)
    except (TypeError, ValueError) as error:
        shown = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        raise ConfigError(f"{origin}: {shown!r} is not {error}") from None


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return setting name to environment variable, for those variables that are set."""
    return {name: option.env for name, option in OPTIONS.items() if option.env and environ.get(option.env)}


def checked(
    values: Mapping[str, Any], source: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Build settings from plain values; what is absent has its default (or comes from its environment variable).

    :param values: setting name to value, as text or already of the right type; other keys are ignored.
    :param source: setting name to where the value came from, for the error message (``option --port``, a file name …).
    :raises ConfigError: a value cannot be used; names it, where it came from and what would be right.
    """
    sources = source or {}
    result = {
        name: parsed(name, environ[variable], f"environment variable {variable}")
        for name, variable in from_environment(environ).items()
        if name not in values
    }
    for name in OPTIONS:
        if name in values:
            result[name] = parsed(name, values[name], sources.get(name, f"setting {name}"))
    return Settings(**result)


def as_dict(settings: Settings) -> dict[str, Any]:
    """Return the settings as the dictionary that ``config_factory`` gets: plain values, tuples as lists."""
    values = dataclasses.asdict(settings)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
