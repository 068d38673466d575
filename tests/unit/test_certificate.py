"""What a certificate says: subject, names and times; and bytes that are none."""

import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spawning.net.certificate import certificates, read

OWN = (Path(__file__).parent / "own.pem").read_text()


def test_all_that_is_wanted_is_read() -> None:
    (der,) = certificates(OWN)
    found = read(der)
    assert found.subject == r"CN=localhost,OU=Größe,O=A\, B\ ,C=DE"  # as `openssl x509 -nameopt RFC2253,-esc_msb`
    assert found.names == ("localhost", "*.example.com", "127.0.0.1", "::1")
    assert datetime.fromtimestamp(found.begins, UTC).year == 2026
    assert datetime.fromtimestamp(found.ends, UTC).year == 2126


def test_a_chain_is_read_in_its_order() -> None:
    (der,) = certificates(OWN)
    assert certificates(f"words\n{ssl.DER_cert_to_PEM_cert(der)}words\n{OWN}") == [der, der]


def test_what_is_cut_or_changed_is_refused_or_read_but_never_worse() -> None:
    (der,) = certificates(OWN)
    for at in range(len(der)):
        with pytest.raises(ValueError, match="certificate"):
            read(der[:at])
        for octet in (0, 0x80, 0xFF):
            with contextlib.suppress(ValueError):
                read(der[:at] + bytes([octet]) + der[at + 1 :])
