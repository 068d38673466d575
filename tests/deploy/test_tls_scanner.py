"""testssl.sh, which tries known attacks on TLS and some 370 ciphers: it takes a minute."""

import json
from pathlib import Path
from typing import Any

from clients.programs import run
from clients.scanned import scanned

PATIENCE = 600.0  # seconds
HARMLESS = {"OK", "INFO"}


def test_testssl_finds_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with scanned(tmp_path) as site:
        quiet = ["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1"]
        trusted = ["--add-ca", str(site.authority.file)]
        run(
            "testssl", *quiet, *trusted, "--jsonfile", report, f"localhost:{site.server.port}", timeout=PATIENCE,
            cwd=tmp_path,
        )  # fmt: skip
        assert site.server.log().count(" ERROR ") == 0
    found: list[dict[str, Any]] = json.loads(report.read_text())
    assert len(found) > 100
    assert [(each["id"], each["severity"], each["finding"]) for each in found if each["severity"] not in HARMLESS] == []
