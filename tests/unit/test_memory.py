"""Reading the memory of processes, on the only one there is: this one."""

import os

from spawning.memory import EVERY, again_at, check_readable, kills, sizes, tree

NOBODY = 2**22 + 1  # above the largest process id


def test_this_process_needs_memory_and_one_that_has_gone_is_left_out() -> None:
    found = sizes([os.getpid(), NOBODY])
    assert list(found) == [os.getpid()]
    assert found[os.getpid()] > 1_000_000


def test_a_tree_begins_with_its_root() -> None:
    assert tree(os.getpid())[0] == os.getpid()
    assert tree(NOBODY) == [NOBODY]


def test_what_takes_long_is_done_less_often() -> None:
    assert again_at(10.0, 10.001) == 10.001 + EVERY
    assert again_at(10.0, 11.0) == 111.0


def test_the_kernel_tells() -> None:
    check_readable("option --max-memory")


def test_the_kernel_tells_how_many_processes_it_has_killed_for_want_of_memory() -> None:
    before = kills()
    assert before is not None
    assert 0 <= before <= (kills() or 0)
