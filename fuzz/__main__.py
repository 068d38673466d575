"""``python -m fuzz TARGET [libFuzzer's options] [FILE ...]``: search for inputs that break what a target promises; with
files, run the target with these only.
"""

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
TARGETS = ("reading", "environ", "forwarding", "announcing", "answering")


def main() -> None:
    """Run one target until its time is over (status 0) or something is found (anything else)."""
    name, *options = sys.argv[1:] or [""]
    if name not in TARGETS:
        sys.exit(f"python -m fuzz: {name or 'nothing'!r} is not a target; there are: {', '.join(TARGETS)}")
    sys.path.insert(0, str(HERE.parent / "tests"))  # the targets tell a reader's story in the words of the tests
    with atheris.instrument_imports(include=["spawning.http", "spawning.wsgi", "spawning.net.proxy_protocol"]):
        target = __import__(f"fuzz.{name}", fromlist=["one_input", "seeds"])
    kept, found = HERE / ".work" / name, HERE / ".work" / "found"
    for directory in (kept, found):
        directory.mkdir(parents=True, exist_ok=True)
    for seed, data in target.seeds():
        (kept / f"seed-{seed}").write_bytes(data)
    words = HERE / f"{name}.dict"
    usual = [f"-artifact_prefix={found}/", "-max_len=1024", *([f"-dict={words}"] if words.exists() else [])]
    inputs = [] if any(not option.startswith("-") for option in options) else [str(kept)]
    atheris.Setup([name, *usual, *options, *inputs], target.one_input)
    atheris.Fuzz()


main()
