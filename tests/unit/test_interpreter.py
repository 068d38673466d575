"""How an interpreter was started is how the others are."""

import pytest

from spawning.errors import ConfigError
from spawning.interpreter import options, refuse_free_threading


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("-m spawning -p 1 site:app", ""),
        ("/venv/bin/spawn -O site:app", ""),
        ("-O -m spawning", "-O"),
        ("-OO -m spawning -W", "-OO"),
        ("-uOm spawning -X dev", "-uO"),
        ("-X dev -W error::UserWarning -m spawning", "-X dev -W error::UserWarning"),
        ("-Xdev -Werror -bb -c code -I", "-Xdev -Werror -bb"),
        ("-uX dev -B script.py", "-uX dev -B"),
        ("-uWX -B script.py", "-uWX -B"),
        ("-I -E -s -P -m spawning", "-I -E -s -P"),
        ("-i -m spawning", ""),
        ("-iOx script.py", "-O"),
        ("--check-hash-based-pycs always -O script.py", "--check-hash-based-pycs always -O"),
        ("-O -- script.py -B", "-O"),
        ("-O -", "-O"),
        ("", ""),
    ],
)
def test_options_of_the_interpreter_end_where_its_program_begins(typed: str, expected: str) -> None:
    assert options(["python", *typed.split()]) == expected.split()


def test_an_interpreter_without_its_lock_is_refused() -> None:
    refuse_free_threading(None)
    refuse_free_threading(lambda: True)
    with pytest.raises(ConfigError, match="free-threaded"):
        refuse_free_threading(lambda: False)
