"""The controller's certificates: who gets which, what time brings, and what an upgrade hands on."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from spawning.controller.fleet import Fleet
from spawning.controller.identities import DAY, Identities
from spawning.controller.records import GenerationState, Source, WorkerRecord, WorkerState
from spawning.errors import ConfigError
from spawning.ipc.messages import Message, Renew
from spawning.net.identity import Material, pick_up, policy
from spawning.net.tickets import LENGTH, new, of_policy
from spawning.settings import Settings

OWN = Path(__file__).parent / "own.pem"
ENDS = 4949366860.0  # when its certificate does
KEYS = new().hex()


class Links:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Source, Message, Sequence[int]]] = []

    def send(self, source: Source, message: Message, fds: Sequence[int] = ()) -> None:
        self.sent.append((source, message, fds))


class Scene:
    """Certificates of a fleet with a worker that serves and one that does not yet."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "own.pem"
        self.file.write_bytes(OWN.read_bytes())
        self.links = Links()
        self.fleet = Fleet(has_served=True)
        self.wall = 1_800_000_000.0
        self.identities = Identities(self.fleet, self.links, {}, (KEYS, self.wall), lambda: self.wall)  # type: ignore[arg-type]

    def generation(self, **more: object) -> int:
        number = self.fleet.newest + 1
        settings = Settings(certfile=(str(self.file),), **more)  # type: ignore[arg-type]
        self.fleet.generation_started(number, settings, "start", 100, 0.0)
        generation = self.fleet.generations[number]
        generation.state = GenerationState.SERVING
        for worker, state in ((1, WorkerState.SERVING), (2, WorkerState.READY)):
            record = WorkerRecord(Source(number, worker), 0.0)
            record.state = state
            generation.workers[worker] = record
        self.identities.provide(generation, {})
        return number


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_generations_with_the_same_settings_have_the_same(scene: Scene) -> None:
    first, second, other = scene.generation(), scene.generation(), scene.generation(tls_min_version="1.3")
    assert scene.identities.of(first) == scene.identities.of(second) != scene.identities.of(other)
    (fd,) = scene.identities.of(first)
    assert pick_up(fd).pairs[0].file == str(scene.file)
    assert scene.identities.handed_on == {first: fd, second: fd, other: scene.identities.of(other)[0]}


def test_what_is_broken_at_a_reload_keeps_what_is_served_and_refuses_what_is_new(scene: Scene) -> None:
    first = scene.generation()
    before = scene.identities.of(first)
    scene.file.write_text("broken")
    second = scene.generation()
    assert scene.identities.of(second) == before
    with pytest.raises(ConfigError, match="holds no certificate"):
        scene.generation(tls_min_version="1.3")


def test_keys_are_made_anew_once_a_day_for_those_that_serve(scene: Scene) -> None:
    number = scene.generation()
    scene.identities.look(0.0)
    assert scene.links.sent == []
    assert scene.identities.keys == KEYS
    scene.wall += DAY + 1
    scene.identities.look(DAY)
    keys = scene.identities.keys
    assert keys != KEYS
    assert len(bytes.fromhex(keys)) == LENGTH
    assert scene.links.sent == [(Source(number, 1), Renew(keys), scene.identities.of(number))]
    scene.identities.look(DAY + 100)
    assert len(scene.links.sent) == 1


def test_keys_are_made_anew_when_the_clock_has_been_set_back(scene: Scene) -> None:
    scene.generation()
    scene.wall -= 10
    scene.identities.look(0.0)
    assert scene.identities.keys != KEYS


@pytest.mark.parametrize(
    ("days", "words"),
    [(22, ""), (20.5, "certificate expires soon file="), (0, "certificate has expired file=")],
)
def test_who_ends_soon_is_warned_of_once_a_day(
    scene: Scene, caplog: pytest.LogCaptureFixture, days: float, words: str
) -> None:
    scene.generation()
    scene.wall = ENDS - days * DAY
    for now in (0.0, 100.0, DAY - 1, DAY + 1, DAY + 100):
        scene.identities.look(now)
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(said) == (2 if words else 0)
    assert all(each.startswith(f"{words}{scene.file} ") for each in said)


@pytest.mark.parametrize("policies", [("", "optional"), ("optional", "required")], ids=["asked for one", "needs one"])
def test_a_ticket_does_not_pass_a_check_that_was_not_made(policies: tuple[str, str]) -> None:
    """OpenSSL does not look at certificates again."""

    def keys(of_clients: str) -> bytes:
        settings = Settings(client_certs=of_clients or "required")
        material = Material(authorities=OWN.read_text() if of_clients else "")
        return of_policy(bytes.fromhex(KEYS), policy(material, settings))

    before, after = map(keys, policies)
    assert len(before) == len(after) == LENGTH
    assert before != after


def test_the_next_program_has_what_this_one_had(scene: Scene) -> None:
    number = scene.generation()
    fd = os.dup(scene.identities.of(number)[0])
    after = Identities(scene.fleet, scene.links, {number: fd}, scene.identities.keys_handed_on)  # type: ignore[arg-type]
    assert after.of(number) == [fd]
    assert after.keys == KEYS
    assert [each.file for each in after.terms] == [str(scene.file)]
