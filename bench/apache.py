"""Run Apache with mod_wsgi in daemon mode: write a configuration for one application, become Apache.

``python -m bench.apache APP PORT PROCESSES THREADS [--log FILE]``. Apache is Debian's (``apache2-bin`` and
``libapache2-mod-wsgi-py3``), or one unpacked elsewhere: its modules are looked for beside its binary. mod_wsgi is built
for Debian's Python, so the packages of the calling interpreter are used only when the minor versions agree.
"""

import argparse
import os
import shutil
import site
import sys
import tempfile
from pathlib import Path

BINARY = "apache2"
_MODULES = ("mpm_event", "authz_core", "log_config", "wsgi")

_CONFIGURATION = """\
ServerRoot "{state}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
ListenBackLog 2048
PidFile "{state}/pid"
DefaultRuntimeDir "{state}"
ErrorLog "{state}/error.log"
LogLevel warn
{modules}
User {user}
Group {group}
# Never out of threads in one of the processes, and never fewer processes: in both cases Apache closes connections.
ServerLimit 4
ThreadLimit 256
ThreadsPerChild 256
MaxRequestWorkers 1024
StartServers 4
MaxSpareThreads 1024
AsyncRequestWorkerFactor 200
KeepAlive On
KeepAliveTimeout 75
MaxKeepAliveRequests 0
WSGISocketPrefix "{state}/wsgi"
WSGIDaemonProcess bench processes={processes} threads={threads} python-path={path} listen-backlog=2048
WSGIScriptAlias / "{state}/application.wsgi" process-group=bench application-group=%{{GLOBAL}}
<Location />
    Require all granted
</Location>
{log}
"""


def module_path(binary: str, name: str) -> Path:
    """Return where the module `name` of the Apache at `binary` (``PREFIX/sbin/apache2``) is."""
    return Path(binary).resolve().parents[1] / "lib" / BINARY / "modules" / f"mod_{name}.so"


def configuration(binary: str, state: Path, options: argparse.Namespace) -> str:
    """Write the configuration as text.

    :param binary: the path of Apache.
    :param state: the directory for its files.
    :param options: the command line: port, processes, threads, log.
    """
    modules = [name for name in _MODULES if module_path(binary, name).exists()]  # the others are built in
    log = f'LogFormat "%h %l %u %t \\"%r\\" %>s %b" common\nCustomLog "{options.log}" common' if options.log else ""
    as_root = os.geteuid() == 0
    return _CONFIGURATION.format(
        state=state,
        port=options.port,
        modules="\n".join(f'LoadModule {name}_module "{module_path(binary, name)}"' for name in modules),
        user="www-data" if as_root else f"#{os.geteuid()}",
        group="www-data" if as_root else f"#{os.getegid()}",
        processes=options.processes,
        threads=options.threads,
        path=":".join([os.getcwd(), *os.environ.get("PYTHONPATH", "").split(":"), *site.getsitepackages()]),
        log=log,
    )


def main() -> None:
    """Write configuration and script, become Apache."""
    parser = argparse.ArgumentParser(prog="python -m bench.apache")
    parser.add_argument("app", help="module:attribute")
    for name in ("port", "processes", "threads"):
        parser.add_argument(name, type=int)
    parser.add_argument("--log", default="", help="access log")
    options = parser.parse_args()
    binary = shutil.which(BINARY)
    if binary is None:
        sys.exit(f"bench: there is no {BINARY} on PATH")
    state = Path(tempfile.mkdtemp(prefix="apache-", dir=os.environ.get("BENCH_WORK")))
    state.chmod(0o755)  # read by the user that Apache changes to
    module, _, attribute = options.app.partition(":")
    (state / "application.wsgi").write_text(f"from {module} import {attribute} as application\n")
    (state / "apache.conf").write_text(configuration(binary, state, options))
    os.execv(binary, [binary, "-DFOREGROUND", "-f", str(state / "apache.conf")])


if __name__ == "__main__":
    main()
