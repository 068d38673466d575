"""The shipped manifests against the schemas of Kubernetes, and read by kubectl: there is no cluster to ask."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from clients.programs import run
from deploy.base import ROOT

EXAMPLE = ROOT / "examples" / "kubernetes"
MANIFESTS = sorted(path for path in EXAMPLE.glob("*.yaml") if path.name != "kustomization.yaml")
VERSIONS = ["1.29", "1.31", "1.33", "1.35", "1.37"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_manifest_is_what_the_schema_of_a_version_wants(manifest: Path, version: str) -> None:
    assert importlib.util.find_spec("kubernetes_validate"), "install the dependency group deploy: kubernetes-validate"
    import kubernetes_validate

    kubernetes_validate.validate(yaml.safe_load(manifest.read_text()), version, strict=True)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_kubectl_reads_a_manifest(manifest: Path) -> None:
    """``kubectl create --dry-run=client`` asks a cluster what it knows; ``--local`` is what it can do without."""
    assert run("kubectl", "label", "--local", "--dry-run=client", "-f", manifest, "a=b", "-o", "name")


def test_kubectl_puts_them_together() -> None:
    together = list(yaml.safe_load_all(run("kubectl", "kustomize", EXAMPLE)))
    assert len(together) == len(MANIFESTS)


def test_the_readme_says_that_no_cluster_was_there() -> None:
    assert "No cluster was available" in (EXAMPLE / "README.md").read_text()
