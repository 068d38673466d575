"""The one table of settings.

Each field of :class:`Settings` is a setting: its name is its key in the dictionary that a factory's ``config_factory``
gets and gives back (the names are those of the original Spawning); its metadata is its :class:`Option`. The command
line, environment variables, configuration files, the factories' dictionary, the documentation, completion and the JSON
Schema derive from this table.
"""

import dataclasses
from dataclasses import dataclass

from spawning.settings import values
from spawning.settings.machine import usable_cpus
from spawning.settings.option import Option, option

_APPLICATION, _NETWORK, _WORKERS = "Application", "Network", "Workers"
_RELOAD, _PROCESS, _LIMITS = "Reload", "Logs and process", "Limits towards clients"
_RECYCLING, _STATUS, _TLS = "Recycling", "Status and metrics", "TLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, checked. Nobody changes one after start; a generation may have been given other values than its
    predecessor by its factory. Times are in seconds, sizes in bytes.
    """

    # fmt: off
    # What only the command line and the factory say to each other.
    args: tuple[str, ...] = option(
        (), parse=values.texts, help="APP and the MIDDLEWARE names, or what the factory expects.",
    )
    explicit: tuple[str, ...] = option(
        (), parse=values.texts, in_file=False,
        help="Names of the settings given outside of the factory; a factory's file does not change them.",
    )

    factory: str = option(
        values.FACTORY_SHORT_NAMES["wsgi"], "-f", "--factory", parse=values.factory, metavar="FACTORY",
        again="one of them makes the application",
        group=_APPLICATION, help="Dotted path of a config_factory, or one of wsgi, django, paste.",
    )
    config: str | None = option(
        None, "--config", parse=values.optional_text, metavar="FILE", in_file=False, group=_APPLICATION,
        again="all settings stand in one file",
        help="TOML file of settings; by default spawning.toml, or [tool.spawning] of pyproject.toml.",
    )
    chdir: str | None = option(
        None, "--chdir", parse=values.optional_text, metavar="DIRECTORY", needs_restart=True, group=_APPLICATION,
        help="Start the application in this directory; other relative paths begin there too.",
    )
    pythonpath: tuple[str, ...] = option(
        (), "--pythonpath", parse=values.directories, metavar="DIRECTORY", group=_APPLICATION,
        help="Look for the application's modules here first; may be repeated.",
    )
    env_file: str | None = option(
        None, "--env-file", parse=values.optional_text, metavar="FILE", group=_APPLICATION,
        again="all variables stand in one file",
        help="Set environment variables from the lines NAME=VALUE of a file, unless they are set already.",
    )
    script_name: str | None = option(
        None, "--script-name", parse=values.script_name, metavar="PATH", env="SCRIPT_NAME", group=_APPLICATION,
        help="The path that the application is below, as SCRIPT_NAME; PATH_INFO is what follows. Others get 404.",
    )
    no_preload: bool = option(
        False, "--no-preload", parse=values.switch, habits=("--preload",), group=_APPLICATION,
        help="Let each worker import the application itself, for one that does not survive a fork.",
    )

    host: str = option(
        "127.0.0.1", "-i", "--host", parse=values.host_to_bind, metavar="HOST", group=_NETWORK,
        again="use --bind for more addresses",
        help="Address to bind: a name, IPv4 or IPv6; with the variable PORT alone it is every address.",
    )
    port: int = option(
        8080, "-p", "--port", parse=values.Integer(0, 65535), metavar="PORT", env="PORT", group=_NETWORK,
        again="use --bind for more addresses",
        help="Port to bind; 0 lets the kernel choose, and the ready line says which.",
    )
    bind: tuple[str, ...] = option(
        (), "-b", "--bind", parse=values.addresses, metavar="ADDRESS", group=_NETWORK,
        help="Where to listen: HOST:PORT, :PORT, unix:/path, unix:@name, fd:N or systemd:NAME; may be repeated.",
    )
    backlog: int = option(
        2048, "--backlog", parse=values.Integer(1, 2**31 - 1), metavar="N", needs_restart=True, group=_NETWORK,
        help="Connections that may wait to be accepted (the kernel may bound it lower).",
    )
    no_keepalive: bool = option(
        False, "--no-keepalive", parse=values.switch, group=_NETWORK, help="Close each connection after its response.",
    )
    forwarded_allow_ips: tuple[str, ...] = option(
        (), "--forwarded-allow-ips", parse=values.peers, metavar="ADDRESS,…", env="FORWARDED_ALLOW_IPS", group=_NETWORK,
        help="Proxies whose Forwarded and X-Forwarded-… fields count: addresses, networks, unix, or * for every peer.",
    )
    proxy_allow_ips: tuple[str, ...] = option(
        ("127.0.0.1", "::1", "unix"), "--proxy-allow-ips", parse=values.peers, metavar="ADDRESS,…", group=_NETWORK,
        help="Who has to begin with a PROXY protocol header, where ?proxy is on: addresses, networks, unix, or *.",
    )

    server_header: str = option(
        "spawning", "--server-header", parse=values.field_value, metavar="TEXT", group=_NETWORK,
        help="The Server field of every response; empty leaves it out.",
    )
    allow_connect: bool = option(
        False, "--allow-connect", parse=values.switch, group=_NETWORK,
        help="Let the application answer CONNECT; otherwise the answer is 501.",
    )

    certfile: tuple[str, ...] = option(
        (), "--certfile", parse=values.texts, metavar="FILE", habits=("--ssl-certfile", "--ssl-certificate"),
        group=_TLS,
        help="Certificate (PEM) with its chain; may be repeated, for clients to be served by name (SNI).",
    )
    keyfile: tuple[str, ...] = option(
        (), "--keyfile", parse=values.texts, metavar="FILE", habits=("--ssl-keyfile",), group=_TLS,
        help="Private key (PEM) of the --certfile at the same place; by default it is in the same file.",
    )
    key_passphrase_file: str | None = option(
        None, "--key-passphrase-file", parse=values.optional_text, metavar="FILE", group=_TLS,
        help="File with the passphrase of encrypted keys.",
    )
    key_passphrase_command: str | None = option(
        None, "--key-passphrase-command", parse=values.optional_text, metavar="COMMAND", group=_TLS,
        help="Command that prints the passphrase of encrypted keys.",
    )
    ca_certs: str | None = option(
        None, "--ca-certs", parse=values.optional_text, metavar="FILE", habits=("--ssl-ca-certs",), group=_TLS,
        help="Certificates (PEM) of those who sign the certificates of clients, which are asked for one then.",
    )
    client_certs: str = option(
        "required", "--client-certs", parse=values.client_certs, metavar="optional|required", group=_TLS,
        help="Whether clients need a certificate, with --ca-certs.",
    )
    crl_file: tuple[str, ...] = option(
        (), "--crl-file", parse=values.texts, metavar="FILE", habits=("--ssl-crl",), group=_TLS,
        help="Revocation lists (PEM) of all who sign certificates of clients; may be repeated.",
    )
    tls_min_version: str = option(
        "1.2", "--tls-min-version", parse=values.tls_version, metavar="1.2|1.3", group=_TLS,
        help="The oldest version of TLS that is spoken.",
    )
    ciphers: str = option(
        "ECDHE+AESGCM:ECDHE+CHACHA20", "--ciphers", parse=values.text, metavar="LIST", habits=("--ssl-ciphers",),
        group=_TLS,
        help="Ciphers of TLS 1.2, as OpenSSL writes them; those of TLS 1.3 are all good.",
    )
    redirect_to_https: bool = option(
        False, "--redirect-to-https", parse=values.switch, group=_TLS,
        help="Answer plain HTTP with a redirect (308), but for --ready-path and --acme-directory.",
    )
    https_port: int = option(
        0, "--https-port", parse=values.Integer(0, 65535), metavar="PORT", group=_TLS,
        help="The port that --redirect-to-https names; by default that of the first TLS listener.",
    )
    acme_directory: str | None = option(
        None, "--acme-directory", parse=values.optional_text, metavar="DIRECTORY", group=_TLS,
        help="Serve its files below /.well-known/acme-challenge/, where a client of ACME puts them (HTTP-01).",
    )

    num_processes: int = option(
        usable_cpus, "-s", "--processes", parse=values.Integer(1, 1024), metavar="N", env="WEB_CONCURRENCY",
        habits=("--workers",), group=_WORKERS, help="Workers; by default one for each usable CPU.",
    )
    threadpool_workers: int = option(
        16, "-t", "--threads", parse=values.Integer(0, 4096), metavar="N", group=_WORKERS,
        help="Most request threads a worker; 0 is coroutines: a greenlet of gevent for each request that waits.",
    )
    max_green: int = option(
        10000, "--max-green", parse=values.Integer(1, 2**20), metavar="N", group=_WORKERS,
        help="With -t 0: most requests a worker that are executed at a time.",
    )
    deadman_timeout: float = option(
        120.0, "--deadman_timeout", "--deadman", parse=values.seconds, metavar="SECONDS",
        habits=("--graceful-timeout",), group=_WORKERS,
        help="How long an old worker may take to finish its requests.",
    )
    drain_delay: float = option(
        0.0, "--drain-delay", parse=values.seconds_or_none, metavar="SECONDS", group=_WORKERS,
        help="How long to serve on after a stop was asked for, with --ready-path at 503, for load balancers to notice.",
    )
    request_timeout: float = option(
        0.0, "--request-timeout", parse=values.seconds_or_none, metavar="SECONDS", group=_WORKERS,
        help="How long the application may take, or go on without sending anything; 0 is for ever.",
    )
    queue_timeout: float = option(
        0.0, "--queue-timeout", parse=values.seconds_or_none, metavar="SECONDS", group=_WORKERS,
        help="How long a request may wait for a thread before it is answered 503; 0 is for ever.",
    )
    health_paths: tuple[str, ...] = option(
        (), "--health-path", parse=values.paths, metavar="PATH", group=_WORKERS,
        help="Requests for this path (and --ready-path) go before others that wait, for ever; may be repeated.",
    )
    boot_timeout: float = option(
        60.0, "--boot-timeout", parse=values.seconds, metavar="SECONDS", group=_WORKERS,
        help="How long a generation may take to become ready.",
    )
    ready_path: str | None = option(
        None, "--ready-path", parse=values.path, metavar="PATH", group=_WORKERS,
        help="GET this path of the application before it serves; a generation that does not answer well is refused.",
    )
    ready_status: str = option(
        "200-299", "--ready-status", parse=values.statuses, metavar="STATUS", group=_WORKERS,
        help="The status, or range of statuses, that --ready-path must answer with.",
    )
    ready_host: str | None = option(
        None, "--ready-host", parse=values.host, metavar="HOST", group=_WORKERS,
        help="The Host of that request; by default the address that is bound.",
    )

    max_requests: int = option(
        0, "--max-requests", parse=values.Integer(0, 2**62), metavar="N", group=_RECYCLING,
        help="Replace a worker after about that many requests; 0 is off.",
    )
    max_requests_jitter: int = option(
        0, "--max-requests-jitter", parse=values.Integer(0, 2**62), metavar="N", group=_RECYCLING,
        help="Most requests added to --max-requests by chance, for each worker.",
    )
    max_age: float = option(
        0.0, "-a", "--max-age", parse=values.seconds_or_none, metavar="SECONDS", group=_RECYCLING,
        help="Replace a worker of that age; 0 is off.",
    )
    max_worker_memory: int = option(
        0, "--max-worker-memory", parse=values.Integer(0, 2**40), metavar="MB", group=_RECYCLING,
        help="Replace a worker whose memory (its share of shared pages) is above; 0 is off.",
    )
    max_memory: int | str = option(
        0, "-m", "--max-memory", parse=values.most_memory, metavar="MB|auto", group=_RECYCLING,
        help="Reload when all processes together need more; auto: replace the largest worker at 90 % of the cgroup's.",
    )

    reload: str | None = option(
        None, "-r", "--reload", parse=values.reload, metavar="dev|git", group=_RELOAD,
        help="dev: reload when a loaded module or a watched file changes; git: when another commit is checked out.",
    )
    watch: tuple[str, ...] = option(
        (), "-w", "--watch", parse=values.texts, metavar="FILE", group=_RELOAD,
        help="With --reload dev: one more file or directory to watch; may be repeated.",
    )

    max_old_generations: int = option(
        3, "--max-old-generations", parse=values.Integer(0, 1024), metavar="N", group=_RELOAD,
        help="Most generations that still finish requests of theirs; above, the oldest is ended. 0 is unlimited.",
    )
    keep_previous: float = option(
        300.0, "--keep-previous", parse=values.seconds_or_none, metavar="SECONDS", group=_RELOAD,
        help="How long the generation before stays in memory, for spawnctl rollback; 0 is not at all.",
    )
    auto_rollback: bool = option(
        True, "--auto-rollback", "--no-auto-rollback", parse=values.switch, group=_RELOAD,
        help="Go back to the generation before when all workers of the new one crash within 10 s of the cutover.",
    )

    access_log_file: str = option(
        "-", "-l", "--access-log-file", parse=values.access_log_file, metavar="FILE", habits=("--access-logfile",),
        group=_PROCESS,
        help="Where access lines go; - is stdout, /dev/stderr stderr, syslog:… a syslog, /dev/null switches them off.",
    )
    access_log_format: str = option(
        "combined", "--access-log-format", parse=values.access_log_format, metavar="FORMAT",
        habits=("--access-logformat",), group=_PROCESS,
        help="combined, json, or a format in gunicorn's or Apache's atoms (docs/logs.md).",
    )
    request_id_header: str | None = option(
        None, "--request-id-header", parse=values.field_name, metavar="NAME", group=_PROCESS,
        help="Give each request a REQUEST_ID, from this field of a trusted proxy or made, and log it.",
    )
    stdout: str | None = option(
        None, "--stdout", parse=values.optional_text, metavar="FILE", needs_restart=True, group=_PROCESS,
        help="Append what goes to stdout to this file: access lines, and what the application prints.",
    )
    stderr: str | None = option(
        None, "--stderr", parse=values.optional_text, metavar="FILE", needs_restart=True, group=_PROCESS,
        help="Append what goes to stderr to this file: the error log, and what the application writes there.",
    )
    daemonize: bool = option(
        False, "-d", "-D", "--daemon", "--daemonize", parse=values.switch, needs_restart=True, group=_PROCESS,
        help="Go on in the background; the command ends, with its status, when the service is ready or refused.",
    )
    chuid: str | None = option(
        None, "-u", "--chuid", parse=values.account, metavar="USER[:GROUP]", habits=("--user", "--uid"),
        needs_restart=True, group=_PROCESS,
        help="Go on as this user when address, logs and pidfile are open; nothing of the application runs as root.",
    )
    group: str | None = option(
        None, "-g", "--group", parse=values.group, metavar="GROUP", habits=("--gid",), needs_restart=True,
        group=_PROCESS, help="The group beside --chuid, if it is not to be the user's own.",
    )
    pidfile: str | None = option(
        None, "--pidfile", parse=values.optional_text, metavar="FILE", needs_restart=True, group=_PROCESS,
        help="Where to write the controller's process id.",
    )
    control_socket: str | None = option(
        None, "--control-socket", parse=values.optional_text, metavar="PATH", needs_restart=True, group=_PROCESS,
        help="Where spawnctl reaches the controller; by default in the runtime directory, named after the address.",
    )
    backdoor: bool = option(
        False, "--backdoor", parse=values.switch, group=_PROCESS,
        help="Let who may use spawnctl execute Python in a worker that serves (spawnctl console).",
    )
    umask: str | None = option(
        None, "--umask", parse=values.umask, metavar="MASK", group=_PROCESS,
        help="Permissions that new files are not to have, octal; by default those of who starts the server.",
    )
    log_level: str = option(
        "info", "--log-level", parse=values.log_level, metavar="LEVEL", group=_PROCESS,
        help="What the error log has, and what is above: debug, info, warning or error.",
    )
    log_format: str = option(
        "text", "--log-format", parse=values.form_of_log, metavar="text|json", group=_PROCESS,
        help="text, or json: the error log has an object a line.",
    )
    log_config: str | None = option(
        None, "--log-config", parse=values.optional_text, metavar="FILE", habits=("--log-config-json",),
        group=_PROCESS, help="Configure the application's logging (dictConfig) from this file, TOML or JSON.",
    )
    capture_output: bool = option(
        False, "--capture-output", parse=values.switch, group=_PROCESS,
        help="What the application prints goes to the error log, and holds up no request.",
    )
    verbose: bool = option(
        False, "-v", "--verbose", parse=values.switch, group=_PROCESS, help="The same as --log-level debug.",
    )

    status: str | None = option(
        None, "--status", parse=values.optional_text, metavar="ADDRESS", group=_STATUS,
        help="Serve a status page, metrics and health checks there: PORT, HOST:PORT or unix:PATH.",
    )
    status_token: str | None = option(
        None, "--status-token", parse=values.token, metavar="TOKEN", secret=True, group=_STATUS,
        help="What clients of --status have to know (Bearer token, or password); needed where others can reach it.",
    )
    status_port: int = option(
        0, "--status-port", parse=values.Integer(0, 65535), metavar="PORT", group=_STATUS,
        help="As --status with this port; 0 is off.",
    )
    status_host: str = option(
        "127.0.0.1", "--status-host", parse=values.text, metavar="HOST", group=_STATUS,
        help="Address for --status-port.",
    )
    app_metrics: bool = option(
        False, "--app-metrics", parse=values.switch, group=_STATUS,
        help="Show the application's own metrics (prometheus_client) at /metrics of --status, from all processes.",
    )
    sysinfo: bool = option(
        False, "--sysinfo", parse=values.switch, group=_STATUS,
        help="Show the application's interpreter, packages, modules and paths at /_sysinfo of --status.",
    )
    coverage: bool = option(
        False, "-c", "--coverage", parse=values.switch, group=_STATUS,
        help="Note which lines of the application are executed, and show them at /_coverage of --status; slow.",
    )
    statsd_host: str | None = option(
        None, "--statsd-host", parse=values.statsd_address, metavar="HOST:PORT", group=_STATUS,
        help="Send metrics there once a second, by UDP, as StatsD takes them; or to unix:PATH.",
    )
    statsd_prefix: str | None = option(
        None, "--statsd-prefix", parse=values.statsd_prefix, metavar="PREFIX", group=_STATUS,
        help="What the names of the metrics for --statsd-host begin with, before spawning.",
    )
    statsd_tags: tuple[str, ...] = option(
        (), "--statsd-tags", parse=values.statsd_tags, metavar="NAME:VALUE,…", group=_STATUS,
        help="Tags behind each metric for --statsd-host, as DogStatsD takes them.",
    )

    # Where each default comes from: docs/settings.md.
    keepalive_timeout: float = option(
        75.0, "--keepalive-timeout", parse=values.seconds_or_none, metavar="SECONDS", group=_LIMITS,
        help="How long an idle connection is kept; 0 closes each connection after its response.",
    )
    head_timeout: float = option(
        30.0, "--head-timeout", parse=values.seconds, metavar="SECONDS", group=_LIMITS,
        help="How long a client may take to send the head of a request, in total.",
    )
    body_timeout: float = option(
        30.0, "--body-timeout", parse=values.seconds, metavar="SECONDS", group=_LIMITS,
        help="How long a client may send nothing of a request's body.",
    )
    min_body_rate: int = option(
        500, "--min-body-rate", parse=values.Integer(0, 2**40), metavar="BYTES", group=_LIMITS,
        help="Bytes of a body a second, on average after the first --body-timeout; 0 is off.",
    )
    response_timeout: float = option(
        60.0, "--response-timeout", parse=values.seconds, metavar="SECONDS", group=_LIMITS,
        help="How long a client may take nothing of a response.",
    )
    min_response_rate: int = option(
        0, "--min-response-rate", parse=values.Integer(0, 2**40), metavar="BYTES", group=_LIMITS,
        help="Bytes of a response a second, on average after the first --response-timeout; 0 is off.",
    )
    max_kept_output: int = option(
        2**26, "--max-kept-output", parse=values.Integer(0, 2**50), metavar="BYTES", group=_LIMITS,
        help="Memory a worker for what slow clients have not taken yet; beyond it goes to temporary files.",
    )
    max_waiting_writers: int = option(
        256, "--max-waiting-writers", parse=values.Integer(0, 10000), metavar="N", group=_LIMITS,
        help="Threads a worker that may wait for their clients without counting as one of --threads.",
    )
    max_tunnels: int = option(
        1000, "--max-tunnels", parse=values.Integer(0, 100000), metavar="N", group=_LIMITS,
        help="WebSockets and other tunnels a worker, each in a thread beside --threads; with -t 0 it is --max-green.",
    )
    max_request_line: int = option(
        16384, "--max-request-line", parse=values.Integer(32, 2**24), metavar="BYTES", group=_LIMITS,
        help="Longest request line.",
    )
    max_head_bytes: int = option(
        131072, "--max-head-bytes", parse=values.Integer(256, 2**24), metavar="BYTES", group=_LIMITS,
        help="Largest head of a request: its line and its fields.",
    )
    max_fields: int = option(
        200, "--max-fields", parse=values.Integer(1, 10000), metavar="N", group=_LIMITS,
        help="Most fields in the head of a request.",
    )
    max_body_bytes: int = option(
        2**30, "--max-body-bytes", parse=values.Integer(0, 2**62), metavar="BYTES", group=_LIMITS,
        help="Largest body of a request; 0 is unlimited.",
    )
    max_connections: int = option(
        20000, "--max-connections", parse=values.Integer(0, 2**20), metavar="N", group=_LIMITS,
        help="Most connections a worker; 0 is as many as there are descriptors.",
    )
    # fmt: on

    @property
    def measures(self) -> bool:
        """Whether somebody wants to know how many requests there are, and how long they take."""
        return self.status is not None or self.status_port != 0 or self.statsd_host is not None


def options() -> dict[str, Option]:
    """List the table: setting name to :class:`Option`, in the order of ``--help``."""
    return {item.name: item.metadata["option"] for item in dataclasses.fields(Settings)}


OPTIONS = options()
DEFAULTS = {item.name: item.default for item in dataclasses.fields(Settings) if item.default is not dataclasses.MISSING}
"""Setting name to default, for those whose default is the same on every machine."""
