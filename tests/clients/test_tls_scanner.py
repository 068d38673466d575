"""sslyze, which tries what attackers of TLS do; ``tests/deploy/test_tls_scanner.py`` has another one, for longer."""

import json
import subprocess
import sys
from typing import Any

import pytest

from clients.scanned import scanned
from integration.server import DEADLINE

OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
SCANS = [
    "--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--compression", "--early_data", "--ems",
    "--elliptic_curves", "--fallback", "--heartbleed", "--openssl_ccs", "--reneg", "--resum", "--robot",
]  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What it finds."""
    directory = tmp_path_factory.mktemp("scanned")
    with scanned(directory) as site:
        told = ["--json_out", str(directory / "found.json"), "--sni", "localhost", "--mozilla_config", "disable"]
        command = [sys.executable, "-m", "sslyze", *told, *SCANS, f"127.0.0.1:{site.server.port}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * DEADLINE)
        assert (directory / "found.json").exists(), done.stdout + done.stderr
        assert site.server.log().count(" ERROR ") == 0
    (scan,) = json.loads((directory / "found.json").read_text())["server_scan_results"]
    results: dict[str, Any] = scan["scan_result"]
    assert {each["status"] for each in results.values()} == {"COMPLETED", "NOT_SCHEDULED"}
    return {name: each["result"] for name, each in results.items()}


def accepted(found: dict[str, Any], version: str) -> set[str]:
    """List the ciphers of a version that it has been served with."""
    suites = found[f"{version}_cipher_suites"]["accepted_cipher_suites"]
    return {each["cipher_suite"]["name"] for each in suites}


def test_old_versions_are_not_spoken(found: dict[str, Any]) -> None:
    for version in OLD:
        assert not found[f"{version}_cipher_suites"]["is_tls_version_supported"]
        assert accepted(found, version) == set()


def test_ciphers_have_forward_secrecy_and_authenticate(found: dict[str, Any]) -> None:
    assert accepted(found, "tls_1_3") == {
        "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    }  # fmt: skip
    assert accepted(found, "tls_1_2") == {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    }  # fmt: skip
    curves = {each["name"] for each in found["elliptic_curves"]["supported_curves"]}
    assert {"X25519", "secp256r1"} <= curves
    assert curves <= {"X25519", "X448", "secp256r1", "secp384r1", "secp521r1"}


def test_known_attacks_find_nothing(found: dict[str, Any]) -> None:
    assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert found["robot"]["robot_result"] == "NOT_VULNERABLE_RSA_NOT_SUPPORTED"
    assert not found["tls_compression"]["supports_compression"]
    assert found["tls_fallback_scsv"]["supports_fallback_scsv"]
    assert found["tls_extended_master_secret"]["supports_ems_extension"]
    assert not found["tls_1_3_early_data"]["supports_early_data"]  # which could be sent again by others
    assert found["session_renegotiation"] == {
        "supports_secure_renegotiation": True,
        "is_vulnerable_to_client_renegotiation_dos": False,
        "client_renegotiations_success_count": 0,
    }


def test_sessions_go_on(found: dict[str, Any]) -> None:
    assert found["session_resumption"]["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"
