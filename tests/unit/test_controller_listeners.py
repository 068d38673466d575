"""The controller's listening sockets: kept, added, given back, and what an earlier Spawning has left of them."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawning.controller.fleet import Fleet
from spawning.controller.legacy import find_legacy
from spawning.controller.listeners import Held, Listeners
from spawning.controller.plan import Wanted
from spawning.controller.records import GenerationState
from spawning.controller.state import State, dumps
from spawning.errors import ConfigError
from spawning.ipc.channel import Channel
from spawning.ipc.messages import Handoff
from spawning.ipc.succession import SUCCEED, memory_file
from spawning.settings import Settings


class Scene:
    """Listeners of a fleet; `far` is where connections are handed on."""

    def __init__(self, directory: Path) -> None:
        self.near, self.far = Channel.pair()
        self.near.sock.setblocking(False)
        self.far.sock.setblocking(False)
        self.directory = directory
        self.listeners = Listeners([], {}, (), str(directory), self.near)
        self.fleet = Fleet(has_served=True)

    def generation(self, *binds: str, state: GenerationState = GenerationState.SERVING) -> int:
        """Begin a generation that listens on addresses; give its number."""
        number = self.fleet.newest + 1
        settings = Settings(bind=binds)
        self.fleet.generation_started(number, settings, "start", 100, 0.0)
        generation = self.fleet.generations[number]
        generation.state = state
        self.listeners.provide(generation, settings, {})
        return number

    def names(self, number: int) -> list[str]:
        return self.listeners.of(self.fleet.generations[number])[1]

    def descriptors(self, number: int) -> list[int]:
        return self.listeners.of(self.fleet.generations[number])[0]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.listeners.close()
    scene.near.close()
    scene.far.close()


def test_what_two_generations_have_in_common_is_one_socket(scene: Scene) -> None:
    first = scene.generation("127.0.0.1:0", "unix:a")
    second = scene.generation("unix:a?proxy", "unix:b", state=GenerationState.LOADING)
    place = f"unix:{scene.directory}"
    assert scene.names(first)[1] == f"{place}/a"
    assert scene.names(second) == [f"{place}/a?proxy", f"{place}/b"]
    assert scene.descriptors(first)[1] == scene.descriptors(second)[0]
    scene.listeners.release(scene.fleet)
    assert len(scene.listeners.held) == 3
    scene.fleet.generations[first].state = GenerationState.RETIRING
    scene.fleet.generations[second].state = GenerationState.SERVING
    scene.listeners.release(scene.fleet)
    assert [each.url for each in scene.listeners.addresses] == [f"{place}/a", f"{place}/b"]


def test_what_cannot_be_had_leaves_nothing_of_the_rest(scene: Scene) -> None:
    scene.generation("unix:a")
    (scene.directory / "c").write_text("")
    with pytest.raises(ConfigError, match=r"^setting bind: .*/c exists and is not a socket"):
        scene.generation("unix:a", "unix:b", "unix:c", state=GenerationState.LOADING)
    assert sorted(os.listdir(scene.directory)) == ["a", "c"]
    assert len(scene.listeners.held) == 1


def test_who_waits_at_a_socket_that_is_closed_is_handed_on_as_fast_as_that_goes(scene: Scene) -> None:
    scene.generation("unix:a?proxy")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(700)]
        for number, client in enumerate(clients):
            client.connect(str(scene.directory / "a"))
            client.send(str(number).encode())
        scene.fleet.generations[1].state = GenerationState.RETIRING
        scene.generation("unix:b")
        scene.listeners.release(scene.fleet)
        seen: set[int] = set()
        while len(seen) < len(clients):
            again = scene.listeners.look(10.0, 30.0)
            assert scene.listeners.busy == (again < float("inf"))
            with contextlib.suppress(BlockingIOError):
                while True:
                    message, (fd,) = scene.far.receive()
                    assert message == Handoff(
                        "", "", socket.AF_UNIX, 40.0, listener=f"unix:{scene.directory}/a?proxy", fresh=True
                    )
                    with socket.socket(fileno=fd) as sock:
                        seen.add(int(sock.recv(10)))
        assert scene.listeners.look(10.0, 30.0) == float("inf")
        assert not scene.listeners.busy
    assert not (scene.directory / "a").exists()


def test_a_socket_of_somebody_else_is_left_alone_and_can_be_taken_again(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        scene.listeners = Listeners([], {"web": [listener]}, (), str(scene.directory), scene.near)
        scene.generation("systemd:web")
        scene.fleet.generations[1].state = GenerationState.KEPT
        scene.generation("unix:a")
        scene.listeners.release(scene.fleet)
        assert [each.url for each in scene.listeners.addresses] == [f"unix:{scene.directory}/a"]
        scene.listeners.recall(scene.fleet.generations[1])
        assert scene.names(1) == [f"127.0.0.1:{port}"]
        assert listener.fileno() >= 0


def test_a_listener_outlives_the_program(scene: Scene) -> None:
    scene.generation("unix:a")
    (held,) = scene.listeners.held
    next_ = Listeners([Held(os.dup(held.fd), held.address, held.file)], {}, (), str(scene.directory), scene.near)
    assert [each.url for each in next_.addresses] == [f"unix:{scene.directory}/a"]
    next_.close()
    assert not (scene.directory / "a").exists()


@pytest.mark.parametrize(("activated", "address"), [(False, "localhost:0"), (True, "systemd:")])
def test_what_an_earlier_spawning_has_left(activated: bool, address: str) -> None:
    """It knew one host and port alone, and did not say of its generations that it was theirs."""
    fleet = Fleet(has_served=True)
    fleet.generation_started(1, Settings(), "start", 100, 0.0)
    near, far = Channel.pair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state = State(
            wanted=Wanted(),
            fleet=fleet,
            channels={},
            handoff=(near.sock.detach(), far.sock.detach()),
            listeners=[os.dup(listener.fileno())],
            activated=activated,
            bound=Settings(host="localhost", port=0),
        )
        values = json.loads(dumps(state))
        del values["held"], values["inherited"]
        legacy = find_legacy({SUCCEED: str(memory_file(json.dumps(values).encode()))})
        listeners = Listeners(legacy.held, legacy.inherited, legacy.outside, "/", legacy.handoff[0])
        generation = legacy.fleet.generations[1]
        assert generation.listeners == [address]
        fds, names = listeners.of(generation)
        assert names == [f"127.0.0.1:{listener.getsockname()[1]}"]
        assert fds == state.listeners
        assert not legacy.outside & set(state.descriptors)
        listeners.close()
        for channel in legacy.handoff:
            channel.close()
