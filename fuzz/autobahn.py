"""Autobahn's own fuzzing client against ``spawning.websocket``, with threads and with greenlets.

    make autobahn PYTHON2=python2.7

``wstest`` (the package ``autobahntestsuite``) needs Python 2.7 with pip, and is installed into ``fuzz/.work``. All of
its cases take half an hour or more; ``--cases`` chooses some. Fails when one has not passed; the report is in
``fuzz/.work/autobahn``. Tests of our own for the same sections, which take a minute, are
``tests/integration/test_websocket_rules.py``.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from integration.server import Server

WORK = Path(__file__).parent / ".work"
SITE = WORK / "wstest"
REPORT = WORK / "autobahn"
MODES = {"threads": ("-t", "4"), "greenlets": ("-t", "0")}
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}  # Autobahn's words; the last is for what the RFC leaves open

# Its longest messages have 16 MiB.
APPLICATION = """\
from spawning.websocket import WebSocketWSGI

@WebSocketWSGI.configured(max_message_length=64 << 20)
def application(ws):
    for message in ws:
        ws.send(message)
"""
# The packages share a namespace, which PYTHONPATH alone does not give them.
CLIENT = """\
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()
"""


def install(python2: str) -> None:
    """Install ``wstest``, unless it is there."""
    if not SITE.is_dir():
        command = [python2, "-m", "pip", "install", "--quiet", "--target", str(SITE), "autobahntestsuite"]
        subprocess.run(command, check=True)


def test(python2: str, cases: list[str]) -> dict[str, dict[str, dict[str, str]]]:
    """Run the cases against each mode; return mode to case to verdict."""
    WORK.mkdir(exist_ok=True)
    (WORK / "echoing.py").write_text(APPLICATION)
    (WORK / "client.py").write_text(CLIENT)
    with ExitStack() as stack:
        servers = []
        for mode, options in MODES.items():
            server = stack.enter_context(
                Server("echoing.application", "-s", "1", "-l", "/dev/null", *options, cwd=WORK)
            )
            servers.append({"agent": mode, "url": f"ws://127.0.0.1:{server.port}"})
        specification = {
            "outdir": str(REPORT), "servers": servers, "cases": cases, "exclude-cases": [], "exclude-agent-cases": {},
        }  # fmt: skip
        (WORK / "autobahn.json").write_text(json.dumps(specification))
        command = [python2, "client.py", str(SITE), "-m", "fuzzingclient", "-s", "autobahn.json"]
        subprocess.run(command, cwd=WORK, check=True)
    found: dict[str, dict[str, dict[str, str]]] = json.loads((REPORT / "index.json").read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python2", default="python2.7", help="an interpreter of Python 2.7 with pip")
    parser.add_argument("--cases", default="*", help="such as 1.*,7.*")
    given = parser.parse_args()
    install(given.python2)
    failed = False
    for mode, verdicts in test(given.python2, given.cases.split(",")).items():
        counts = Counter(verdict[each] for verdict in verdicts.values() for each in ("behavior", "behaviorClose"))
        print(f"{mode}: {len(verdicts)} cases, {dict(counts)}")
        for case, verdict in sorted(verdicts.items()):
            if not {verdict["behavior"], verdict["behaviorClose"]} <= PASSED:
                failed = True
                print(f"{mode}: case {case}: {verdict['behavior']}, at the close {verdict['behaviorClose']}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
