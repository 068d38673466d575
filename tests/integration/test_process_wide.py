"""What a view changes for its whole process does not change the server: its worker serves on, reloads and stops.

``test_import.py`` has what is changed during the import, ``test_logs.py`` what concerns streams and logging,
``test_patching.py`` what is replaced in modules.
"""

import re
from collections.abc import Iterator

import psutil
import pytest

from integration.client import Client, Closed
from integration.server import Server, until

NOISY = "noisy.application"
MODES = {"inline": [], "handed over": [], "interruptible": ["--request-timeout", "60"]}

RECURSION = """
depth, frame = {room}, sys._getframe()
while frame is not None: depth, frame = depth + 1, frame.f_back
sys.setrecursionlimit(depth)
"""
CHANGES = {
    **{f"a recursion limit that leaves {room}": RECURSION.format(room=room) for room in (1, 3, 6, 12)},
    "a recursion limit that is very high": "sys.setrecursionlimit(2**31 - 1)",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8')",
    "umask": "os.umask(0o777)",
    "a directory that is gone": "import tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)",
    "faulthandler": "import faulthandler; faulthandler.enable(); faulthandler.dump_traceback_later(0.1, repeat=True)",
    "faulthandler on signals": "import faulthandler, signal\n"
    "for name in ('HUP', 'USR1', 'USR2', 'TERM', 'INT'): faulthandler.register(getattr(signal, 'SIG' + name))",
    "an interval of hours": "sys.setswitchinterval(3600)",
    "an interval of nothing": "sys.setswitchinterval(1e-9)",
    "no collector": "import gc; gc.disable(); gc.set_threshold(0)",
    "an eager collector": "import gc; gc.unfreeze(); gc.set_threshold(1, 1, 1); gc.callbacks.append(lambda *_: 1 / 0)",
    "warnings are errors": "import warnings; warnings.simplefilter('error')",
    "warnings cannot be shown": "import warnings; warnings.showwarning = warnings.formatwarning = None",
    "excepthook": "sys.excepthook = sys.unraisablehook = None",
    "threading.excepthook": "import threading; threading.excepthook = None",
    "a trace function that raises": "sys.settrace(lambda *_: 1 / 0)",
    "a profile function that raises": "sys.setprofile(lambda *_: 1 / 0)",
    "trace functions of all threads": "import threading; threading.settrace(lambda *_: None)\n"
    "threading.setprofile(lambda *_: None)",
    "trace functions of all threads that raise": "import threading; threading.settrace(lambda *_: 1 / 0)\n"
    "threading.setprofile(lambda *_: 1 / 0)",
    "an audit hook that refuses": "sys.addaudithook(lambda event, _: 1 / 0 if event.startswith('import') else None)",
    "no environment": "os.environ.clear()",
    "no path": "sys.path.clear(); sys.path_hooks.clear(); sys.meta_path.clear(); sys.path_importer_cache.clear()",
    "no modules": "[sys.modules.pop(name) for name in list(sys.modules) if name not in ('sys', 'builtins')]",
    "few descriptors": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "small files": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))",
    "no core, no locked memory": "import resource\n"
    "for limit in ('CORE', 'MEMLOCK', 'MSGQUEUE', 'NICE', 'RTPRIO'):\n"
    "    resource.setrlimit(getattr(resource, 'RLIMIT_' + limit), (0, 0))",
    "nice": "os.nice(19)",
    "signals blocked": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "stack size": "import threading; threading.stack_size(65536)",
    "digits": "sys.set_int_max_str_digits(640)",
    "decimal": "import decimal; decimal.getcontext().prec = 1; decimal.DefaultContext.prec = 1",
    "random": "import random; random.seed(1)",
    "a process group of its own": "os.setpgid(0, 0)",
    "its title": "import setproctitle; setproctitle.setproctitle('mine')",
}


SLOW = b"time.sleep(0.05)"


def ask(port: int, target: str = "/", body: bytes = b"") -> int:
    """Return the status of an answer; 0: the connection was closed."""
    try:
        with Client(port) as client:
            return (client.post(target, body, "Connection: close") if body else client.get(target)).status
    except (Closed, ConnectionError):
        return 0


# What concerns the interpreter, its threads and what wakes them is shown for each way to execute a request. The rest is
# shown where a worker has requests that are executed inline, and requests that are handed over.
EACH_WAY = ("recursion", "interval", "trace", "profile", "excepthook", "collector", "faulthandler", "signals", "stack",
            "modules")  # fmt: skip
CASES = [
    pytest.param(mode, change, id=f"{change}-{mode}")
    for mode in MODES
    for change in CHANGES
    if mode == "handed over" or any(word in change for word in EACH_WAY)
]


@pytest.fixture(scope="module")
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(mode: str) -> Iterator[Server]:
    """Each test ends with a reload: the next one has a worker that nothing has been done to."""
    with Server(NOISY, "-s", "1", "-t", "3", *MODES[mode]) as server:
        yield server
        assert server.stop() == 0


@pytest.mark.parametrize(("mode", "change"), CASES, indirect=["mode"], scope="module")
def test_what_a_view_changes_for_its_process_does_not_change_the_server(server: Server, mode: str, change: str) -> None:
    mark = server.mark()
    (worker,) = server.workers()
    with Client(server.port) as kept:
        assert kept.get("/").status == 200
        for _ in range(5 if mode == "handed over" else 0):
            assert ask(server.port, "/do", SLOW) == 200
        for _ in range(2):
            ask(server.port, "/do", CHANGES[change].encode())  # may fail, as what follows in its thread may
        until(lambda: ask(server.port) == 200, "as before within a second")
        if "leaves" in change:
            server.wait_for_log(
                r" WARNING recursion limit leaves the server no room, and is not taken asked=\d+ ", after=mark
            )
        assert [ask(server.port) for _ in range(3)] == [200] * 3
        assert kept.get("/").status == 200
        assert ask(server.port, "/fail") == 500
        assert ask(server.port, "/nothing", b"x" * 3_000_000) in {200, 507 if change == "small files" else 200}
        assert {ask(server.port, "/do", SLOW) for _ in range(3)} <= {200, 500}
        assert ask(server.port) == 200
        if change != "its title":
            assert server.workers() == [worker]
        assert server.reload()
        assert kept.get("/").status == 200
    until(lambda: not psutil.pid_exists(worker.pid), "the old worker is gone")
    assert [each.generation for each in server.workers()] == [worker.generation + 1]
    wrong = re.compile(r" died |given up|this is a bug|controller")
    assert [line for line in server.err.since(mark) if wrong.search(line)] == []
