"""The shipped stack on a Docker Swarm of one node: replaced, stopped by a broken image, and killed, under load."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest

from deploy.base import LONG, ROOT, system
from deploy.engine import RELEASE, SITE, Engine
from deploy.load import Wrk
from deploy.namespaces import inside
from integration.client import fetch
from integration.load import Load
from integration.server import until

EXAMPLE = ROOT / "examples" / "swarm"
PORT = 80
REPLICAS = 4
NEXT, BROKEN = "mysite:2", "mysite:broken"
STATE = "{{.UpdateStatus.State}}"


@pytest.fixture(scope="module")
def swarm(engine: Engine) -> Iterator[Engine]:
    """An engine in which the stack serves version 1; the test is in its network."""
    engine.build(NEXT, VERSION="2")
    engine.build(BROKEN, SPAWNING_APP="nothing_of_that_name:application")
    start = 'CMD ["haproxy", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
    engine.docker("import", "--change", start, system(RELEASE, "haproxy"), "haproxy:3.0", timeout=LONG)
    engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    shutil.copytree(EXAMPLE, engine.directory / "stack")
    deploy(engine, SITE)
    try:
        with inside(engine.network):
            until(lambda: healthy(engine) == REPLICAS and serves(), "the stack serves", timeout=120)
            yield engine
    except BaseException as error:
        error.add_note(engine.docker("service", "ps", "--no-trunc", "mysite_site"))
        error.add_note(engine.docker("service", "logs", "--tail", "30", "mysite_balancer"))
        raise
    finally:
        engine.docker("stack", "rm", "mysite")
        until(lambda: not engine.docker("ps", "--quiet"), "no container", timeout=120)
        engine.docker("swarm", "leave", "--force")


def deploy(engine: Engine, image: str) -> None:
    os.environ.update(IMAGE=image, STATUS_TOKEN="a-token-of-the-test")
    try:
        engine.docker("stack", "deploy", "--compose-file", engine.directory / "stack" / "stack.yml", "mysite")
    finally:
        del os.environ["IMAGE"], os.environ["STATUS_TOKEN"]


def healthy(engine: Engine, image: str = SITE) -> int:
    """Count the containers of an image that are healthy."""
    filters = ("--filter", f"ancestor={image}", "--filter", "health=healthy")
    return len(engine.docker("ps", "--quiet", *filters).split())


def updated(engine: Engine) -> str:
    return engine.docker("service", "inspect", "--format", STATE, "mysite_site").strip()


def serves() -> bool:
    with contextlib.suppress(OSError):
        return fetch(PORT).status == 200
    return False


def test_a_rolling_update_loses_no_request(swarm: Engine) -> None:
    with Wrk(f"http://127.0.0.1:{PORT}/") as wrk, Load(PORT, fresh=2, kept=4) as load:
        load.wait_for_more()
        deploy(swarm, NEXT)
        until(lambda: updated(swarm) in ("completed", "paused"), "the end of the update", timeout=300)
        load.wait_for_more()
    assert updated(swarm) == "completed"
    assert load.answers[-1].version == 2
    assert load.failures == []
    assert wrk.failures == []


def test_an_update_to_a_broken_image_stops_by_itself(swarm: Engine) -> None:
    with Wrk(f"http://127.0.0.1:{PORT}/") as wrk, Load(PORT, fresh=2, kept=4) as load:
        load.wait_for_more()
        deploy(swarm, BROKEN)
        until(lambda: updated(swarm) == "paused", "the update pauses", timeout=300)
        load.wait_for_more()
    assert load.failures == []
    assert wrk.failures == []
    assert healthy(swarm, NEXT) == REPLICAS
    deploy(swarm, NEXT)
    until(lambda: updated(swarm) == "completed", "all is as before", timeout=300)


def test_a_container_that_is_killed_costs_at_most_what_it_had_in_hand(swarm: Engine) -> None:
    clients = 6
    with Load(PORT, fresh=2, kept=clients - 2) as load:
        load.wait_for_more()
        victim = swarm.docker("ps", "--quiet", "--filter", f"ancestor={NEXT}", "--filter", "health=healthy").split()[0]
        swarm.docker("kill", "--signal", "KILL", victim)
        until(lambda: healthy(swarm, NEXT) == REPLICAS, "another one in its place", timeout=120)
        load.wait_for_more()
    assert len(load.failures) <= clients
