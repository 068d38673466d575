"""The controller's side of the control socket: how many may wait."""

import pytest

from spawning.controller.control import most_waiting


@pytest.mark.parametrize(("descriptors", "clients"), [(1024, 256), (64, 16), (3, 1), (1 << 20, 1024), (-1, 1024)])
def test_who_waits_leaves_most_descriptors_to_the_controller(descriptors: int, clients: int) -> None:
    assert most_waiting(descriptors) == clients
