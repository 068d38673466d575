"""Blocks of code in the documentation, tried with the programs that they are for, or served.

Which kinds of blocks there are, and what tries the others: ``tests/unit/test_document_kinds.py``.
"""

import functools
import queue
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from websockets.sync.client import connect

from clients.programs import program, run
from integration.client import Client
from integration.server import DEADLINE, Server
from integration.server import run as run_spawn
from unit.documented import BLOCKS, Block, commands, of


def the_block(page: str, *has: str) -> str:
    """Return the only block of a page with these texts."""
    (block,) = [block for block in BLOCKS if block.page == page and all(text in block.text for text in has)]
    return block.text


# Commands ------------------------------------------------------------------------------------------------------------

PROGRAMS = ("curl", "git", "ln", "mv")
HELP = {"curl": ("--help", "all"), "git": ("pull", "-h")}


@functools.cache
def options(name: str) -> set[str]:
    """Return the options that a program's help names."""
    arguments = HELP.get(name, ("--help",))
    # The help of a command of git's ends with status 129.
    command = ("sh", "-c", 'exec 2>&1; "$@" || true', "sh", program(name), *arguments) if name == "git" else None
    text = (run(*command) if command else run(name, *arguments)).decode()
    return set(re.findall(r"(?<![\w-])--?(?:\[no-\])?[\w-]+", text.replace("[no-]", "")))


def given(words: list[str]) -> Iterator[str]:
    """Yield the options of a command, letters behind one dash one by one."""
    for word in words[1:]:
        if word.startswith("--"):
            yield word.partition("=")[0]
        elif re.fullmatch(r"-[A-Za-z]+", word):
            yield from (f"-{letter}" for letter in word[1:])


@pytest.mark.parametrize("name", PROGRAMS)
def test_options_of_programs_exist(name: str) -> None:
    found = [words for block in of("indented") for words in commands(block.text) if words[0] == name]
    assert found
    assert [option for words in found for option in given(words) if option not in options(name)] == []


def known_commands(block: Block) -> list[list[str]]:
    try:
        return list(commands(block.text)) if not re.search(r"[…[]|^\$ ", block.text) else []
    except ValueError:
        return []


def test_commands_are_what_a_shell_reads() -> None:
    for block in of("indented"):
        if any(words[0] in ("spawn", "spawnctl", "git", "eval") for words in known_commands(block)):
            run("sh", "-n", "-c", block.text)


def test_the_coverage_of_a_server_is_what_coverage_reports() -> None:
    assert "coverage report" in the_block("status.md", "_coverage/data")
    import coverage.cmdline

    assert "report" in coverage.cmdline.COMMANDS


# Files for other programs --------------------------------------------------------------------------------------------


def test_alerts_are_rules_of_prometheus(tmp_path: Path) -> None:
    lines = [line.partition("#")[0].strip() for line in the_block("metrics.md", "[10m]").splitlines()]
    rules = [{"alert": f"A{number}", "expr": line} for number, line in enumerate(filter(None, lines))]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "spawning", "rules": rules}]}))
    run("promtool", "check", "rules", tmp_path / "rules.yml")


def test_prometheus_takes_what_is_to_be_scraped(tmp_path: Path) -> None:
    text = the_block("metrics.md", "scrape_configs:")
    for each in (text, text.replace("# authorization: { credentials: TOKEN }", "authorization: { credentials: a }")):
        (tmp_path / "prometheus.yml").write_text(each)
        run("promtool", "check", "config", tmp_path / "prometheus.yml")


def test_logrotate_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "access.log").touch()
    text = the_block("logs.md", "rotate 14").replace("/var/log/site", str(tmp_path))
    (tmp_path / "rules").write_text(text)
    (tmp_path / "rules").chmod(0o644)
    run("logrotate", "--debug", "--state", tmp_path / "state", tmp_path / "rules")


def test_haproxy_takes_a_server_on_a_unix_socket(tmp_path: Path) -> None:
    text = the_block("listeners.md", "backend mysite")
    waits = "".join(f"    timeout {each} 1s\n" for each in ("connect", "client", "server"))
    front = f"frontend front\n    mode http\n    bind unix@{tmp_path}/front\n    default_backend mysite\n"
    (tmp_path / "haproxy.cfg").write_text(f"defaults\n{waits}{front}{text}")
    run("haproxy", "-c", "-q", "-f", tmp_path / "haproxy.cfg")


# What is refused -----------------------------------------------------------------------------------------------------

WRONG = {
    "option --port": (("--port", "http"), {}),
    "request-timeout": ((), {"spawning.toml": '\n\n\nrequest-timeout = "soon"\n'}),
    "no setting": ((), {"spawning.toml": "\n\n\n\n\n\nthread = 1\n"}),
    "log-config": (
        (),
        {
            "spawning.toml": '\n\n\nlog-config = "logging.toml"\n',
            "logging.toml": '\n\n\n\n[root]\nlevel = "LOUD"\n',
        },
    ),
}
"""What makes a line of the pages: arguments, and files."""

LINES = [line for block in of("indented") for line in block.text.splitlines() if line.startswith("spawn: ")]


def test_each_line_is_met_once() -> None:
    assert len(LINES) == len(WRONG)


@pytest.mark.parametrize("line", LINES)
def test_what_is_refused_is_said_so(line: str, tmp_path: Path) -> None:
    (case,) = [words for words in WRONG if words in line]
    arguments, files = WRONG[case]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    ended = run_spawn(*arguments, "--check-config", "hello:app", cwd=tmp_path)
    assert ended.status == 2
    assert re.match(re.escape(line).replace("…", ".*"), ended.err), ended.err


# Python, served ------------------------------------------------------------------------------------------------------

ANSWER = """
def make_application(stage):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(stage)))])
        return [stage.encode()]
    return application
"""


def test_a_factory_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "deploy.py").write_text(the_block("factories.md", "def config_factory"))
    (tmp_path / "mysite" / "wsgi.py").write_text(ANSWER)
    with Server("-f", "mysite.deploy.config_factory", "staging", cwd=tmp_path) as server, Client(server.port) as client:
        assert client.get("/").text == "staging"
    ended = run_spawn("-f", "mysite.deploy.config_factory", "elsewhere", cwd=tmp_path)
    assert (ended.status, "say staging or production" in ended.err) == (2, True)


def test_a_stream_of_greenlets(tmp_path: Path) -> None:
    lines = (
        "import queue\nfrom types import SimpleNamespace",
        "def subscribe():\n    waiting = queue.Queue()\n    waiting.put('hello')",
        "    return SimpleNamespace(get=waiting.get, close=lambda: None)",
        "broker = SimpleNamespace(subscribe=subscribe)",
    )
    (tmp_path / "site_app.py").write_text("\n".join((*lines, the_block("coroutines.md", "def events"))))
    with Server("-t", "0", "site_app:events", cwd=tmp_path) as server, Client(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while b"data: hello\n\n" not in got:
            got += client.sock.recv(1 << 16)
        assert b"text/event-stream" in got


def test_a_tunnel_that_echoes(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(the_block("websockets.md", "environ[", "Upgrade: echo"))
    with Server("site_app:application", cwd=tmp_path) as server, Client(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            got += client.sock.recv(1 << 16)
        client.send(b"hello")
        assert client.sock.recv(16) == b"hello"


def test_a_stream_that_waits_is_told_that_its_client_has_gone() -> None:
    told: list[Callable[[], None]] = []
    left: list[object] = []
    found: dict[str, object] = {"queue": queue, "subscribe": lambda news: news.put(b"one"), "unsubscribe": left.append}
    exec(the_block("streaming.md", "def application"), found)
    environ = {"spawning.client_disconnected": SimpleNamespace(call=told.append)}
    stream = found["application"](environ, lambda status, headers: None)  # type: ignore[operator]
    assert next(stream) == b"data: one\n\n"
    told[0]()
    assert list(stream) == []
    assert len(left) == 1


def test_events_are_what_a_browser_reads() -> None:
    events = [SimpleNamespace(), None]
    found: dict[str, object] = {"wait_for_event": lambda seconds: events.pop() and (7, b"seven")}
    exec(the_block("streaming.md", "still here"), found)
    stream = found["events"]()  # type: ignore[operator]
    assert next(stream) == b": still here\n\n"
    assert next(stream) == b"id: 7\ndata: seven\n\n"


@pytest.mark.parametrize("words", ["def connect", "except ImportError"])
def test_hooks_are_registered_or_nothing(words: str) -> None:
    found: dict[str, object] = {"pool": SimpleNamespace(open=list)}
    exec(the_block("hooks.md", words), found)
    assert callable(found["on_fork"])


def test_a_hook_of_the_fork_is_one() -> None:
    called: list[object] = []

    def register_at_fork(before: object) -> None:
        called.append(before)

    found = {"os": SimpleNamespace(register_at_fork=register_at_fork), "engine": SimpleNamespace(dispose=7)}
    exec(the_block("reload.md", "register_at_fork"), dict(found))
    assert called == [7]


def test_messages_are_echoed(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(the_block("websockets.md", "@WebSocketWSGI"))
    with (
        Server("site_app:application", cwd=tmp_path) as server,
        connect(server.url.replace("http", "ws"), proxy=None) as socket,
    ):
        for message in ("text", b"bytes"):
            socket.send(message)
            assert socket.recv(DEADLINE) == message


DJANGO = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="for this test only", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
)
django.setup()

{block}

from django.core.wsgi import get_wsgi_application
from django.urls import path

urlpatterns = [path("<room>", chat)]
application = get_wsgi_application()
"""


def test_a_view_of_django_is_a_websocket(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(DJANGO.format(block=the_block("websockets.md", "@websocket")))
    with (
        Server("site_app:application", cwd=tmp_path) as server,
        connect(f"{server.url.replace('http', 'ws')}/kitchen", proxy=None) as socket,
    ):
        assert socket.recv(DEADLINE) == "welcome to kitchen, AnonymousUser"


def test_every_block_of_python_is_tried() -> None:
    """Here, or in ``test_recipes.py`` (all that ``hooks.md`` has below a heading), or ``test_tutorial.py``."""
    here = Path(__file__).read_text()
    tried = {tuple(re.findall(r'"([^"]*)"', call)) for call in re.findall(r"the_block\((\".*?)\)", here)}
    left: list[Block] = []
    for block in of("python", "indented"):
        if block.language == "python" and block.page in ("hooks.md", "tutorial.md"):
            continue
        is_code = block.language == "python" or re.search(r"^(from \S+ import|def|try:|os\.)", block.text)
        if is_code and not any(block.page == page and all(w in block.text for w in words) for page, *words in tried):
            left.append(block)
    assert [block for block in left if block.page != "hooks.md"] == []  # whose two are called with `words`
