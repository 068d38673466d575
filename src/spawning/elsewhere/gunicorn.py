"""The settings of gunicorn 27, each with what it means here. The order is that of ``gunicorn --help``.

``docs/from/gunicorn.md`` is made from this table, and ``spawn --from-gunicorn`` works by it.
"""

from typing import Final

from spawning.elsewhere import taking
from spawning.elsewhere.rows import Row
from spawning.lifecycle import on_exit, on_fork, on_load, on_worker_gone

NEVER = "There is no such leniency: a request that breaks the rule is refused."
DIRTY = "There are no processes beside the workers for long tasks: use a queue of tasks, such as Celery."
ASGI = "Applications are WSGI."
HTTP2 = "HTTP/1.1 is spoken; a proxy in front may speak HTTP/2 with clients."
ALWAYS = "It is always so."
LOGGING = "Spawning's logs do not pass through Python's logging; that of the application is the application's."
SYSLOG = "`--access-log-file syslog:ADDRESS,facility=…,tag=…`, for access lines; the error log goes to stderr."

ROWS: Final = (
    Row(
        name="wsgi_app", key="app", take=taking.application,
        note="The application, which may also stand on the command line.",
    ),
    Row(
        name="bind", flags=("-b", "--bind"), default=["127.0.0.1:8000"], key="bind", take=taking.bind, unsaid=True,
        note="Here the default is 127.0.0.1:8080. gunicorn lets everybody connect to a Unix socket, less its umask; "
        "here its owner and group may, unless ?mode= says otherwise.",
    ),
    Row(name="backlog", flags=("--backlog",), default=2048, key="backlog"),
    Row(
        name="workers", flags=("-w", "--workers"), default=1, key="processes", take=taking.workers, unsaid=True,
        note="By default one for each usable CPU. The variable WEB_CONCURRENCY counts as there. -w is a file to watch.",
    ),
    Row(
        name="worker_class", flags=("-k", "--worker-class"), default="sync", take=taking.worker_class,
        note="There are no classes of workers: each has threads for views that wait, and none is needed for others. "
        "With gevent, see threads.",
    ),
    Row(
        name="threads", flags=("--threads",), default=1, key="threads", take=taking.threads, unsaid=True,
        note="By default 16. One thread is as much as the sync worker has, for an application that is not safe with "
        "several; 0 is for coroutines, where that is known.",
    ),
    Row(
        name="worker_connections", flags=("--worker-connections",), default=1000, key="max-connections",
        note="Idle connections count too, so rather more; by default 20000.",
    ),
    Row(name="max_requests", flags=("--max-requests",), default=0, key="max-requests"),
    Row(name="max_requests_jitter", flags=("--max-requests-jitter",), default=0, key="max-requests-jitter"),
    Row(
        name="timeout", flags=("-t", "--timeout"), default=30, key="request-timeout", take=taking.timeout, unsaid=True,
        note="Ends that request alone. With gthread and gevent it is no limit of a request there, but of "
        "the worker's sign of life. -t is the number of threads.",
    ),
    Row(
        name="graceful_timeout", flags=("--graceful-timeout",), default=30, key="deadman", unsaid=True,
        note="Here the default is 120.",
    ),
    Row(
        name="keepalive", flags=("--keep-alive",), default=2, key="keepalive-timeout",
        note="By default 75; an idle connection costs no thread. The sync worker keeps none.",
    ),
    Row(
        name="limit_request_line", flags=("--limit-request-line",), default=4094, key="max-request-line",
        take=taking.Limit(2**24), note="By default 16384. There is always a limit.",
    ),
    Row(
        name="limit_request_fields", flags=("--limit-request-fields",), default=100, key="max-fields",
        take=taking.Limit(10000), note="By default 200.",
    ),
    Row(
        name="limit_request_field_size", flags=("--limit-request-field_size",), default=8190, key="max-head-bytes",
        take=taking.field_size, note="Here the limit is that of the whole head, by default 131072.",
    ),
    Row(
        name="reload", flags=("--reload",), default=False, key="reload", take=taking.reload,
        note="dev; also in production, since a reload loses nothing (git, or a signal).",
    ),
    Row(
        name="reload_engine", flags=("--reload-engine",), default="auto",
        note="The kernel's notifications are used where they come, and the files are looked at besides.",
    ),
    Row(
        name="reload_extra_files", flags=("--reload-extra-file",), default=[], key="watch", take=taking.listed,
        note="Directories too.",
    ),
    Row(
        name="spew", flags=("--spew",), default=False,
        note="`python -m trace` does it; `spawnctl stacks` shows where a server is.",
    ),
    Row(
        name="check_config", flags=("--check-config",), default=False, take=taking.nothing, same=True,
        note="It loads the application as well.",
    ),
    Row(
        name="print_config", flags=("--print-config",), default=False, take=taking.nothing, same=True,
        note="It also says where each value comes from.",
    ),
    Row(
        name="preload_app", flags=("--preload",), default=False, key="no-preload", take=taking.nothing,
        note="Here it is the default, and a reload loads the new code all the same; --no-preload is the opposite.",
    ),
    Row(name="sendfile", flags=("--no-sendfile",), default=None, note=ALWAYS),
    Row(
        name="reuse_port", flags=("--reuse-port",), default=False,
        note="All workers accept from one socket, which a reload never closes.",
    ),
    Row(name="chdir", flags=("--chdir",), default=None, key="chdir"),
    Row(name="daemon", flags=("-D", "--daemon"), default=False, key="daemonize", note="Better: a unit of systemd."),
    Row(
        name="raw_env", flags=("-e", "--env"), default=[], key="env-file", take=taking.environment,
        note="The variables stand in a file of lines NAME=VALUE.",
    ),
    Row(name="pidfile", flags=("-p", "--pid"), default=None, key="pidfile", note="-p is the port."),
    Row(
        name="worker_tmp_dir", flags=("--worker-tmp-dir",), default=None, note="Workers are not watched by a file.",
    ),
    Row(
        name="user", flags=("-u", "--user"), default=None, key="chuid", take=taking.user,
        note="Otherwise: User= of a unit of systemd.",
    ),
    Row(
        name="group", flags=("-g", "--group"), default=None, key="group", take=taking.group,
        note="Otherwise: Group= of a unit of systemd.",
    ),
    Row(
        name="umask", flags=("-m", "--umask"), default=0, key="umask", take=taking.umask,
        note="Octal. By default that of what starts the server; gunicorn's is 0. -m is --max-memory.",
    ),
    Row(
        name="initgroups", flags=("--initgroups",), default=False,
        note="With another user come all groups of that user.",
    ),
    Row(
        name="forwarded_allow_ips", flags=("--forwarded-allow-ips",), default="127.0.0.1,::1",
        key="forwarded-allow-ips", take=taking.proxies, unsaid=True,
        note="Here nobody is trusted by default, and who is trusted sets REMOTE_ADDR, host and port too, not only the "
        "scheme. Peers on a Unix socket are called unix; gunicorn always trusts them.",
    ),
    Row(
        name="disable_redirect_access_to_syslog", flags=("--disable-redirect-access-to-syslog",), default=False,
        note="Only access-log-file says where access lines go.",
    ),
    Row(
        name="accesslog", flags=("--access-logfile",), default=None, key="access-log-file", take=taking.access_log,
        unsaid=True, note="Here the default is stdout, there none.",
    ),
    Row(
        name="access_log_format", flags=("--access-logformat",), key="access-log-format", take=taking.access_format,
        default='%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        note="That default is Apache's combined format, as here.",
    ),
    Row(
        name="errorlog", flags=("--error-logfile", "--log-file"), default="-", key="stderr", take=taking.error_log,
        note="It has what the application writes to stderr as well.",
    ),
    Row(
        name="loglevel", flags=("--log-level",), default="info", key="log-level", take=taking.log_level,
        note="critical is error; --verbose is debug.",
    ),
    Row(
        name="capture_output", flags=("--capture-output",), default=False,
        note="What the application prints goes where the logs go.",
    ),
    Row(name="logger_class", flags=("--logger-class",), default="gunicorn.glogging.Logger", note=LOGGING),
    Row(name="logconfig", flags=("--log-config",), default=None, note=LOGGING),
    Row(name="logconfig_dict", default={}, note=LOGGING),
    Row(name="logconfig_json", flags=("--log-config-json",), default=None, note=LOGGING),
    Row(
        name="syslog_addr", flags=("--log-syslog-to",), default="udp://localhost:514", take=taking.nothing, note=SYSLOG,
    ),
    Row(name="syslog", flags=("--log-syslog",), default=False, take=taking.syslog, note=SYSLOG),
    Row(name="syslog_prefix", flags=("--log-syslog-prefix",), default=None, take=taking.nothing, note=SYSLOG),
    Row(name="syslog_facility", flags=("--log-syslog-facility",), default="user", take=taking.nothing, note=SYSLOG),
    Row(name="enable_stdio_inheritance", flags=("-R", "--enable-stdio-inheritance"), default=False, note=ALWAYS),
    Row(
        name="statsd_host", flags=("--statsd-host",), default=None, key="statsd-host", take=taking.statsd_host,
        note="The metrics have other names.",
    ),
    Row(name="dogstatsd_tags", flags=("--dogstatsd-tags",), default="", key="statsd-tags", take=taking.tags),
    Row(name="statsd_prefix", flags=("--statsd-prefix",), default="", key="statsd-prefix", take=taking.prefix),
    Row(
        name="enable_backlog_metric", flags=("--enable-backlog-metric",), default=False,
        note="Metrics at --status have what waits.",
    ),
    Row(
        name="proc_name", flags=("-n", "--name"), default=None, note="Processes are called after the application.",
    ),
    Row(name="default_proc_name", default="gunicorn", note="Processes are called after the application."),
    Row(
        name="pythonpath", flags=("--pythonpath",), default=None, key="pythonpath", take=taking.directories,
        note="Colons separate several directories, or a list does.",
    ),
    Row(
        name="paste", flags=("--paste", "--paster"), default=None, key="factory", take=taking.nothing,
        note="`spawn -f paste FILE`: in a file factory = paste, and app is the ini file.",
    ),
    Row(
        name="proxy_protocol", flags=("--proxy-protocol",), default="off", key="bind", take=taking.nothing,
        note="A property of an address: `--bind :8000?proxy`. Version 1 and 2 are told apart.",
    ),
    Row(
        name="proxy_allow_ips", flags=("--proxy-allow-from",), default="127.0.0.1,::1", key="proxy-allow-ips",
        take=taking.proxy_peers,
    ),
    Row(
        name="protocol", flags=("--protocol",), default="http", take=taking.protocol,
        note="HTTP. nginx's uwsgi_pass becomes proxy_pass.",
    ),
    Row(
        name="uwsgi_allow_ips", flags=("--uwsgi-allow-from",), default="127.0.0.1,::1",
        note="The uwsgi protocol is not spoken.",
    ),
    Row(name="keyfile", flags=("--keyfile",), default=None, key="keyfile"),
    Row(name="certfile", flags=("--certfile",), default=None, key="certfile"),
    Row(
        name="ssl_version", flags=("--ssl-version",), default=2, key="tls-min-version", take=taking.tls_version,
        note="gunicorn does not look at it any more.",
    ),
    Row(
        name="cert_reqs", flags=("--cert-reqs",), default=0, key="client-certs", take=taking.client_certificates,
        note="`optional` and `required` in place of 1 and 2.",
    ),
    Row(name="ca_certs", flags=("--ca-certs",), default=None, key="ca-certs"),
    Row(name="suppress_ragged_eofs", flags=("--suppress-ragged-eofs",), default=True, note=ALWAYS),
    Row(
        name="do_handshake_on_connect", flags=("--do-handshake-on-connect",), default=False,
        note="No handshake holds a thread.",
    ),
    Row(name="ciphers", flags=("--ciphers",), default=None, key="ciphers"),
    Row(
        name="http_protocols", flags=("--http-protocols",), default="h1", take=taking.http_protocols, note=HTTP2,
        missing=True,
    ),
    Row(name="http2_cleartext", flags=("--http2-cleartext",), default="off", note=HTTP2, missing=True),
    Row(
        name="http2_max_concurrent_streams", flags=("--http2-max-concurrent-streams",), default=100, note=HTTP2,
        missing=True,
    ),
    Row(
        name="http2_initial_window_size", flags=("--http2-initial-window-size",), default=65535, note=HTTP2,
        missing=True,
    ),
    Row(name="http2_max_frame_size", flags=("--http2-max-frame-size",), default=16384, note=HTTP2, missing=True),
    Row(
        name="http2_max_header_list_size", flags=("--http2-max-header-list-size",), default=65536, note=HTTP2,
        missing=True,
    ),
    Row(
        name="raw_paste_global_conf", flags=("--paste-global",), default=[], key="middleware", take=taking.paste_global,
        note="`key=value` behind the ini file.",
    ),
    Row(name="permit_obsolete_folding", flags=("--permit-obsolete-folding",), default=False, note=NEVER),
    Row(name="strip_header_spaces", flags=("--strip-header-spaces",), default=False, note=NEVER),
    Row(
        name="permit_unconventional_http_method", flags=("--permit-unconventional-http-method",), default=False,
        note="Every token is a method (RFC 9110 9.1); the application may refuse it.",
    ),
    Row(
        name="permit_unconventional_http_version", flags=("--permit-unconventional-http-version",), default=False,
        note=NEVER,
    ),
    Row(
        name="casefold_http_method", flags=("--casefold-http-method",), default=False,
        note="Methods are case-sensitive (RFC 9110 9.1).",
    ),
    Row(
        name="forwarder_headers", flags=("--forwarder-headers",), default="SCRIPT_NAME,PATH_INFO",
        note="A trusted proxy names the prefix in X-Forwarded-Prefix; --script-name is for one that does not.",
    ),
    Row(
        name="header_map", flags=("--header-map",), default="drop",
        note="Fields whose names have an underscore are dropped.",
    ),
    Row(name="secure_scheme_headers", default={}, take=taking.scheme_fields,
        note="X-Forwarded-Proto and Forwarded of a trusted proxy count, and no others."),
    Row(name="tmp_upload_dir", default=None, note="Large bodies go to files in TMPDIR."),
    Row(name="asgi_loop", flags=("--asgi-loop",), default="auto", note=ASGI),
    Row(name="asgi_lifespan", flags=("--asgi-lifespan",), default="auto", note=ASGI),
    Row(name="asgi_disconnect_grace_period", flags=("--asgi-disconnect-grace-period",), default=3, note=ASGI),
    Row(name="websocket_max_message_size", flags=("--websocket-max-message-size",), default=2**24, note=ASGI),
    Row(name="http_parser", flags=("--http-parser",), default="auto", note="There is one."),
    Row(
        name="root_path", flags=("--root-path",), default="", key="script-name", take=taking.or_nothing,
        note="Of WSGI applications here.",
    ),
    Row(name="dirty_apps", flags=("--dirty-app",), default=[], note=DIRTY),
    Row(name="dirty_workers", flags=("--dirty-workers",), default=0, note=DIRTY),
    Row(name="dirty_timeout", flags=("--dirty-timeout",), default=300, note=DIRTY),
    Row(name="dirty_threads", flags=("--dirty-threads",), default=1, note=DIRTY),
    Row(name="dirty_graceful_timeout", flags=("--dirty-graceful-timeout",), default=30, note=DIRTY),
    Row(
        name="control_socket", flags=("--control-socket",), default=None, key="control-socket", take=taking.nothing,
        note="For spawnctl, which finds it by itself.",
    ),
    Row(
        name="control_socket_mode", flags=("--control-socket-mode",), default=0o600,
        note="It is for its owner and root alone.",
    ),
    Row(
        name="control_socket_disable", flags=("--no-control-socket",), default=False,
        note="There is always one, and nobody else can ask it.",
    ),
)  # fmt: skip
"""Every setting but ``config``, which names the file itself, and the hooks."""

BY_NAME: Final = {row.name: row for row in ROWS}

HOOKS: Final = {
    "on_starting": (None, "the controller runs no code of the application: do it before (ExecStartPre= of a unit)"),
    "on_reload": (on_load, "a reload loads the application anew: do it there, or at its import"),
    "when_ready": (None, "systemd is told by itself, and --ready-path and /readyz of --status tell everybody else"),
    "pre_fork": (on_load, "the application is loaded once before workers are forked: do it there, or at its import"),
    "post_fork": (on_fork, "each new worker calls it"),
    "post_worker_init": (on_fork, "each new worker calls it"),
    "worker_int": (on_exit, "each worker that ends calls it, whatever has asked for the end"),
    "worker_abort": (None, "the stacks of a request that is over request-timeout are logged"),
    "pre_exec": (None, "an upgrade in place asks the new program first"),
    "pre_request": (None, "what is done around requests is WSGI middleware"),
    "post_request": (None, "what is done around requests is WSGI middleware"),
    "child_exit": (on_worker_gone, "the fork server calls it; metrics of prometheus_client need --app-metrics only"),
    "worker_exit": (on_exit, "each worker that ends calls it"),
    "nworkers_changed": (None, "metrics at --status have the number of workers"),
    "on_exit": (None, "the controller runs no code of the application: do it behind it (ExecStopPost= of a unit)"),
    "ssl_context": (None, "certificates are files, which are looked at again when they change, with TLS"),
    "on_dirty_starting": (None, DIRTY), "dirty_post_fork": (None, DIRTY),
    "dirty_worker_init": (None, DIRTY), "dirty_worker_exit": (None, DIRTY),
}  # fmt: skip
"""Functions that a file of gunicorn's may define: the decorator of ``spawning.lifecycle`` for it, and a sentence."""
