"""What the application logs and prints: ``--log-config`` and ``--capture-output``."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.client import Client
from integration.server import DEADLINE, Server, until
from integration.stalled import Stalled

NOISY = "noisy.application"
CONFIG = """
disable_existing_loggers = true
[formatters.short]
format = "short: %(message)s"
[handlers.server]
class = "spawning.log_handler.ErrorLogHandler"
[handlers.own]
class = "logging.StreamHandler"
formatter = "short"
[loggers."shop.own"]
handlers = ["own"]
propagate = false
[root]
level = "INFO"
handlers = ["server"]
"""
SILENT = {"version": 1, "handlers": {"none": {"class": "logging.NullHandler"}}, "root": {"level": "CRITICAL"}}
RECORD = r"^\d{4}-\d\d-\d\d \S+ \S+ \[\d+\] "


def do(where: int | str, code: str) -> None:
    with Client(where) as client:
        assert client.post("/do", code.encode(), "Connection: close").status == 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with everything on, whose application logs and prints while it is imported."""
    config = tmp_path_factory.mktemp("logs") / "logging.toml"
    config.write_text(CONFIG)
    at_import = "logging.getLogger('shop').info('imported')\nprint('printed at import')\nprint('begun', end='')"
    options = ["-s", "1", "-t", "2", "--log-config", str(config), "--capture-output"]
    with Server(NOISY, *options, env={"AT_IMPORT": at_import}) as server:
        yield server
        assert server.stop() == 0
        assert server.err.since().count("begun") == 1


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("logging.getLogger('shop').warning('cold %s', 7)", RECORD + r"WARNING cold 7 logger=shop$"),
        ("logging.critical('gone')", RECORD + r"CRITICAL gone logger=root$"),
        ("logging.getLogger('shop').info('two\\nlines \\x1b[2J')", r"^  lines \\x1b\[2J$"),
        ("logging.getLogger('shop.own').error('once')", r"^short: once$"),
        ("print('printed')", r"^printed$"),
        ("print('to stderr', file=sys.stderr)", r"^to stderr$"),
        ("print('whole', end=''); sys.stdout.flush()", r"^whole$"),
        ("sys.stdout.buffer.write('bytes é\\n'.encode())", r"^bytes é$"),
        ("sys.stdout.writelines(['a list\\n'])", r"^a list$"),
        ("sys.stdout.reconfigure(line_buffering=True); print('again')", r"^again$"),
        ("os.write(sys.stdout.fileno(), b'by its number\\n')", r"^by its number$"),
        ("os.system('echo of a program')", r"^of a program$"),
    ],
)
def test_what_an_application_says_is_in_the_error_log_and_stamped_once_at_most(
    server: Server, code: str, line: str
) -> None:
    mark = server.mark()
    do(server.port, code)
    server.wait_for_log(line, after=mark)
    assert not [each for each in server.out.since() if "POST /do" not in each and "GET /" not in each]


def test_logging_is_configured_before_the_import(server: Server) -> None:
    server.wait_for_log(RECORD + r"INFO imported logger=shop$")
    server.wait_for_log(r"^printed at import$")


def test_a_traceback_follows_its_record(server: Server) -> None:
    mark = server.mark()
    do(server.port, "try: 1 / 0\nexcept ZeroDivisionError: logging.getLogger('shop').exception('failed')")
    server.wait_for_log(RECORD + r"ERROR failed logger=shop$", after=mark)
    server.wait_for_log(r"^  ZeroDivisionError: division by zero$", after=mark)


def test_access_lines_stay_on_stdout(server: Server) -> None:
    with Client(server.port) as client:
        client.get("/its-own-stream")
    server.out.find("/its-own-stream", DEADLINE)


def test_workers_have_it_wherever_the_application_is_loaded(tmp_path: Path) -> None:
    """Each reload reads the file again, and what is wrong with it then refuses the reload; nothing silences the server.

    What is printed stays in the error log when that is reopened.
    """
    config, log = tmp_path / "logging.json", tmp_path / "error.log"
    config.write_text(json.dumps(SILENT))
    options = ["-s", "1", "-t", "2", "--no-preload", "--log-format", "json", "--log-level", "info", "--capture-output"]
    options += ["--stderr", str(log), "--log-config", str(config), "--request-id-header", "X-Request-ID"]

    def said(message: str) -> dict[str, object]:
        found = [json.loads(line) for line in log.read_text().splitlines()]
        return next(each for each in found if message in each["message"])

    with Server(NOISY, *options, ready=False) as server:
        port = int(str(_wait(lambda: said("ready"))["url"]).rpartition(":")[2])
        with Client(port) as client:
            assert client.get("/fail/silent").status == 500
        raised = _wait(lambda: said("application raised"))
        assert (raised["method"], raised["path"]) == ("GET", "/fail/silent")
        assert raised["request_id"]
        do(port, "logging.getLogger('shop').error('not heard')\nprint('heard')")
        assert _wait(lambda: said("heard"))["stream"] == "stdout"
        assert "not heard" not in log.read_text()
        config.write_text('{"root": {"handlers": ["nobody"]}}')
        server.signal(signal.SIGHUP)
        refused = str(_wait(lambda: said("reload refused"))["reason"])
        assert refused == f"option --log-config: {config}, root.handlers: there is nothing called 'nobody' in handlers"
        log.rename(tmp_path / "error.log.1")
        server.signal(signal.SIGUSR1)
        _wait(lambda: said("log reopened"))
        rotated = 'print("after rotation")\nos.write(1, b\'{"message": "by its number"}\\n\')'
        # The workers learn of the new file behind the controller.
        until(lambda: _again(port, rotated, log), "both are in the new file")


def _again(port: int, code: str, log: Path) -> bool:
    do(port, code)
    text = log.read_text()
    return "after rotation" in text and "by its number" in text


def _wait(probe: Callable[[], dict[str, object]]) -> dict[str, object]:
    def tried() -> dict[str, object] | None:
        try:
            return probe()
        except (StopIteration, FileNotFoundError):
            return None

    found = until(tried, "it is in the log")
    assert found is not None
    return found


def test_what_is_logged_and_printed_waits_for_no_reader(tmp_path: Path) -> None:
    (tmp_path / "logging.toml").write_text(CONFIG)
    with Stalled(tmp_path / "pipe") as pipe:
        command = [sys.executable, "-m", "spawning", "--port", "0", NOISY, "-s", "1", "-t", "2", "--capture-output"]
        command += ["--log-config", str(tmp_path / "logging.toml")]
        shell = ["sh", "-c", f'exec "$@" 2>{pipe.path}', "sh", *command]
        with Server(command=shell, ready=False) as server:
            ready = next(line for line in pipe.read_until(" ready url=") if " ready url=" in line)
            port = int(ready.partition("url=http://127.0.0.1:")[2].split()[0])
            pipe.fill()
            for code in ("logging.getLogger('shop').error('lost')", "logging.getLogger('shop.own').error('own')"):
                do(port, code)
            do(port, "print('x' * 100_000)\nprint('flushed', flush=True)")
            assert server.stop() == 0


WRONG = {
    '[handlers.x]\nclass = "nowhere.Handler"': (
        "handlers.x: ModuleNotFoundError: No module named 'nowhere'",
        "line 1",
    ),
    '[handlers.x]\nclass = "logging.FileHandler"\nfilename = "/no/such/file"': (
        "handlers.x: FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'",
        "line 1",
    ),
    '[handlers.x]\nclass = "logging.StreamHandler"\nsize = 3': ("handlers.x: TypeError: ", "line 1"),
    '[formatters.x]\n"()" = "os.abort.x"': ("formatters.x: ", "line 1"),
}


def test_what_fails_there_is_one_line(tmp_path: Path) -> None:
    """All of them in one interpreter that is not this one, whose ``logging`` is pytest's."""
    code = (
        "import sys\n"
        "from spawning.errors import ConfigError\n"
        "from spawning.forkserver.output import configure_logging\n"
        "from spawning.logs.setup import configure\n"
        "configure(None)\n"
        "for path in sys.argv[1:]:\n"
        "    try: configure_logging(path, 'log.toml', 'option --log-config')\n"
        "    except ConfigError as error: print(error)\n"
        "    else: print('taken')\n"
    )
    files = [tmp_path / f"{number}.toml" for number in range(len(WRONG))]
    for file, text in zip(files, WRONG, strict=True):
        file.write_text(text)
    command = [sys.executable, "-c", code, *map(str, files)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE)
    for line, (reason, place) in zip(done.stdout.splitlines(), WRONG.values(), strict=True):
        assert line.startswith(f"option --log-config: log.toml, {place}, {reason}")


FACTORY = """
from spawning.wsgi_factory import config_factory as plain
def config_factory(args):
    return plain(args) | {"log_config": "absent.toml"}
"""


@pytest.mark.parametrize("question", [[], ["--check-config"]])
@pytest.mark.parametrize(
    ("words", "environ", "file", "origin"),
    [
        (["--log-config", "absent.toml"], {}, "", "option --log-config"),
        ([], {"SPAWNING_LOG_CONFIG": "absent.toml"}, "", "environment variable SPAWNING_LOG_CONFIG"),
        ([], {}, 'threads = 2\nlog_config = "absent.toml"', "spawning.toml, line 2, log_config"),
        (["-f", "own.config_factory"], {}, "", "factory own.config_factory, setting log_config"),
    ],
    ids=["option", "variable", "file", "factory"],
)
def test_a_mistake_at_the_start_names_where_it_was_made(
    tmp_path: Path, words: list[str], environ: dict[str, str], file: str, origin: str, question: list[str]
) -> None:
    (tmp_path / "spawning.toml").write_text(file)
    (tmp_path / "own.py").write_text(FACTORY)
    command = [sys.executable, "-m", "spawning", "--port", "0", *words, NOISY, *question]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
        timeout=DEADLINE,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == f"spawn: {origin}: cannot read absent.toml: No such file or directory\n"
