"""Options that were typed and have no effect, or contradict another one, so something else was meant.

Only the command line is looked at. A file or a variable may serve several ways to start, and a factory may still set
what an option needs; so those of ours that set nothing are the only ones under which it is known.
"""

from collections.abc import Callable, Mapping
from typing import Final

from spawning.errors import ConfigError
from spawning.settings.table import Settings
from spawning.settings.values import FACTORY_SHORT_NAMES

_SILENT: Final = (FACTORY_SHORT_NAMES["wsgi"], FACTORY_SHORT_NAMES["django"])
_EFFECT: Final[Mapping[str, tuple[Callable[[Settings], bool], str]]] = {
    "watch": (lambda settings: settings.reload == "dev", "has no effect without --reload dev"),
    "max_requests_jitter": (lambda settings: settings.max_requests > 0, "has no effect without --max-requests"),
    "ready_status": (lambda settings: settings.ready_path is not None, "has no effect without --ready-path"),
    "ready_host": (lambda settings: settings.ready_path is not None, "has no effect without --ready-path"),
    "log_level": (lambda settings: not settings.verbose or settings.log_level == "debug", "contradicts --verbose"),
    "max_green": (lambda settings: settings.threadpool_workers == 0, "has no effect without -t 0"),
    "max_tunnels": (lambda settings: settings.threadpool_workers > 0, "has no effect with -t 0, write --max-green"),
    "status_token": (
        lambda settings: settings.status is not None or settings.status_port > 0,
        "has no effect without --status",
    ),
    "status_host": (lambda settings: settings.status_port > 0, "has no effect without --status-port"),
    "statsd_prefix": (lambda settings: settings.statsd_host is not None, "has no effect without --statsd-host"),
    "statsd_tags": (lambda settings: settings.statsd_host is not None, "has no effect without --statsd-host"),
    "group": (lambda settings: settings.chuid is not None, "has no effect without --chuid"),
    "keyfile": (lambda settings: bool(settings.certfile), "has no effect without --certfile"),
    "key_passphrase_file": (lambda settings: bool(settings.certfile), "has no effect without --certfile"),
    "key_passphrase_command": (
        lambda settings: bool(settings.certfile) and settings.key_passphrase_file is None,
        "has no effect without --certfile, or beside --key-passphrase-file",
    ),
    "ca_certs": (lambda settings: bool(settings.certfile), "has no effect without --certfile"),
    "client_certs": (lambda settings: settings.ca_certs is not None, "has no effect without --ca-certs"),
    "crl_file": (lambda settings: settings.ca_certs is not None, "has no effect without --ca-certs"),
    "tls_min_version": (lambda settings: bool(settings.certfile), "has no effect without --certfile"),
    "ciphers": (lambda settings: bool(settings.certfile), "has no effect without --certfile"),
    "https_port": (lambda settings: settings.redirect_to_https, "has no effect without --redirect-to-https"),
    "keepalive_timeout": (lambda settings: not settings.no_keepalive, "contradicts --no-keepalive"),
}  # name of a setting, whether it has an effect, and what to say otherwise


def check_effects(settings: Settings, sources: Mapping[str, str]) -> None:
    """See that all that was typed has an effect.

    :param sources: name of a setting to where its value came from.
    :raises ConfigError: something has none; says what it needs.
    """
    if settings.factory not in _SILENT:
        return
    for name, (has_effect, otherwise) in _EFFECT.items():
        origin = sources.get(name, "")
        if origin.startswith("option ") and getattr(settings, name) and not has_effect(settings):
            raise ConfigError(f"{origin} {otherwise}")
