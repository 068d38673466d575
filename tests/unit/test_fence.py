"""The page in which the controller writes whose turn it is to serve."""

import os

import pytest

from spawning.ipc.fence import NEVER, Fence, attach


def test_a_worker_sees_what_the_controller_writes_without_being_told() -> None:
    fence = Fence()
    page = attach(os.dup(fence.fd))
    assert (fence.term, page[0]) == (0, 0)
    fence.advance()
    fence.advance()
    assert (fence.term, page[0]) == (2, 2)


def test_a_worker_cannot_write() -> None:
    page = attach(os.dup(Fence().fd))
    with pytest.raises(TypeError):
        page[0] = 7


def test_the_next_program_of_the_controller_goes_on_with_it() -> None:
    first = Fence()
    first.advance()
    second = Fence(os.dup(first.fd))
    second.advance()
    assert (first.term, second.term) == (2, 2)


def test_where_there_is_no_page_terms_are_counted_all_the_same() -> None:
    fence = Fence(os.open(os.devnull, os.O_RDWR))  # it cannot be mapped
    fence.advance()
    assert fence.term == 1


def test_who_was_given_no_page_is_never_overtaken() -> None:
    assert NEVER[0] == 0
