"""The shipped examples for orchestrators and service managers say what the settings know, and fit together."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spawning.cli import parse
from spawning.settings import OPTIONS, Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = ["docker/site/spawning.toml", "systemd/spawning.toml", "spawning.toml"]


def read(arguments: list[str], environ: dict[str, str], directory: Path) -> Settings:
    """Read settings as the command does."""
    asked = parse(arguments, environ, str(directory))
    assert asked is not None
    return asked.sources.read_all().settings


def manifest(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / "kubernetes" / name).read_text())


@pytest.fixture
def pod() -> Any:
    return manifest("deployment.yaml")["spec"]["template"]["spec"]


@pytest.fixture
def settings(pod: Any) -> Settings:
    """The settings of the pod: those of its image, and on top what the manifest says."""
    container = pod["containers"][0]
    variables = {each["name"]: each.get("value", "from-a-secret") for each in container["env"]}
    assert set(variables) <= {option.variable for option in OPTIONS.values()}
    return read(container["args"], variables, EXAMPLES / "docker" / "site")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_settings_can_be_read(name: str, tmp_path: Path) -> None:
    text = (EXAMPLES / name).read_text()
    (tmp_path / "environment").touch()
    (tmp_path / "spawning.toml").write_text(text.replace("/etc/mysite/environment", str(tmp_path / "environment")))
    assert read([], {}, tmp_path).args == ("mysite:application" if "docker" in name else "mysite.wsgi:application",)


def test_a_pod_has_the_time_that_a_stop_may_take(pod: Any, settings: Settings) -> None:
    assert pod["terminationGracePeriodSeconds"] > settings.drain_delay + settings.deadman_timeout + 10
    assert settings.drain_delay > 0
    assert "lifecycle" not in pod["containers"][0]


def test_a_pod_is_asked_where_it_listens(pod: Any, settings: Settings) -> None:
    container = pod["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert settings.bind == (f"0.0.0.0:{ports['http']}",)
    assert settings.status == f"0.0.0.0:{ports['status']}"
    assert settings.status_token is not None  # or it would not listen there
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {probe["port"] for probe in probes.values()} == {"status"}
    paths = [probes[name]["path"] for name in ("startup", "readiness", "liveness")]
    assert paths == ["/readyz", "/readyz", "/livez"]
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > settings.boot_timeout
    assert manifest("service.yaml")["spec"]["ports"][0]["targetPort"] == "http"


def test_a_pod_may_write_to_its_temporary_directory_alone(pod: Any, settings: Settings) -> None:
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert [each["mountPath"] for each in container["volumeMounts"]] == ["/tmp"]
    assert settings.access_log_file == "-"
    assert settings.max_memory == "auto"
    assert "memory" in container["resources"]["limits"]
    assert "cpu" in container["resources"]["limits"]  # the number of workers


def test_everything_means_the_same_pods() -> None:
    labels = manifest("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    assert manifest("service.yaml")["spec"]["selector"] == labels
    assert manifest("pdb.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("hpa.yaml")["spec"]["scaleTargetRef"]["name"] == manifest("deployment.yaml")["metadata"]["name"]
    files = {path.name for path in (EXAMPLES / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(manifest("kustomization.yaml")["resources"]) == files


def test_a_container_of_the_swarm_has_the_time_that_a_stop_may_take() -> None:
    site = yaml.safe_load((EXAMPLES / "swarm" / "stack.yml").read_text())["services"]["site"]
    settings = read(site["command"], dict(site["environment"]), EXAMPLES / "docker" / "site")
    assert float(site["stop_grace_period"].removesuffix("s")) > settings.drain_delay + settings.deadman_timeout + 10
    assert settings.drain_delay > 0
    balancer = (EXAMPLES / "swarm" / "haproxy.cfg").read_text()
    for address, told in ((settings.bind[0], "tasks.site:{}"), (settings.status or "", "check port {} ")):
        assert told.format(address.rpartition(":")[2]) in balancer


def test_the_unit_gives_the_times_that_the_settings_take() -> None:
    unit = (EXAMPLES / "systemd" / "mysite.service").read_text()
    times = {name: float(value) for name, value in re.findall(r"^Timeout(\w+)Sec=(\d+)$", unit, re.MULTILINE)}
    settings = read(["mysite.wsgi:application"], {}, EXAMPLES / "kubernetes")
    assert times["Start"] > settings.boot_timeout
    assert times["Stop"] >= settings.drain_delay + settings.deadman_timeout + 10


def test_the_image_asks_the_status_service_where_it_listens() -> None:
    dockerfile = (EXAMPLES / "docker" / "Dockerfile").read_text()
    settings = read([], {}, EXAMPLES / "docker" / "site")
    assert f"http://{settings.status}/livez" in dockerfile
