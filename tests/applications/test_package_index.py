"""pypiserver, with twine and pip as its clients, through reloads."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from applications.holding import LONG, end, held, reload_meanwhile, serve
from integration.gate import Gate
from integration.server import Server

SIZE = 20 << 20  # bytes, which cannot be compressed
METADATA = "Metadata-Version: 2.1\nName: thing\nVersion: {0}\nSummary: a thing\n"
TAGS = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel(directory: Path, version: str) -> Path:
    """Write a wheel of a package ``thing``, with a large file in it."""
    path = directory / f"thing-{version}-py3-none-any.whl"
    info = f"thing-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/__init__.py", f"VERSION = {version!r}\n")
        archive.writestr("thing/data.bin", os.urandom(SIZE))
        archive.writestr(f"{info}/METADATA", METADATA.format(version))
        archive.writestr(f"{info}/WHEEL", TAGS)
        archive.writestr(f"{info}/RECORD", "")
    return path


def begin(*words: str | Path) -> "subprocess.Popen[str]":
    """Start a module of Python that is a command, without the settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "TWINE_"))}
    env = {**kept, "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1", "PYTHONWARNINGS": ""}
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def upload(server: Server, *files: Path) -> "subprocess.Popen[str]":
    to = ("--repository-url", f"{server.url}/", "--username", "a", "--password", "b", "--disable-progress-bar")
    return begin("twine", "upload", "--non-interactive", "--config-file", os.devnull, *to, *files)


def pip(server: Server, *words: str | Path) -> "subprocess.Popen[str]":
    quiet = ("--disable-pip-version-check", "--no-cache-dir", "--no-input", "--retries", "0")
    command, *rest = words
    return begin("pip", command, *quiet, "--no-deps", "--index-url", f"{server.url}/simple/", *rest)


@pytest.fixture
def server(tmp_path: Path, gate: Gate) -> Iterator[Server]:
    root = tmp_path / "packages"
    root.mkdir()
    with serve("index_pages:application", gate, {"INDEX_ROOT": str(root)}) as server:
        yield server


def test_upload_download_and_install_with_reloads_under_way(server: Server, gate: Gate, tmp_path: Path) -> None:
    first = wheel(tmp_path, "1.0")
    with held(gate, "POST /?"):
        uploading = upload(server, first)
        reload_meanwhile(server, gate)
        end(uploading)
    assert digest(tmp_path / "packages" / first.name) == digest(first)
    with held(gate, "GET /packages/"):
        downloading = pip(server, "download", "--dest", tmp_path / "got", "thing")
        reload_meanwhile(server, gate)
        end(downloading)
    assert digest(tmp_path / "got" / first.name) == digest(first)
    end(upload(server, wheel(tmp_path, "2.0")))
    end(pip(server, "install", "--target", tmp_path / "installed", "thing"))
    assert (tmp_path / "installed" / "thing" / "__init__.py").read_text() == "VERSION = '2.0'\n"


def test_what_is_refused_is_what_the_user_reads(server: Server, tmp_path: Path) -> None:
    """The same file once more: the answer comes while twine may still be sending."""
    file = wheel(tmp_path, "1.0")
    end(upload(server, file))
    again = upload(server, file)
    out, _ = again.communicate(timeout=LONG)
    assert again.returncode != 0
    assert "400 Bad Request" in out  # its answer to twine, as that of the public index
    missing = pip(server, "download", "--dest", tmp_path / "got", "nothing-of-that-name")
    out, _ = missing.communicate(timeout=LONG)
    assert missing.returncode != 0
    assert "No matching distribution found" in out


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
