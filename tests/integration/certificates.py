"""Certificates and keys for tests, made by the ``openssl`` command."""

import ssl
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, in files."""

    file: Path
    key: Path

    @property
    def options(self) -> list[str]:
        """What ``spawn`` is told of it."""
        return ["--certfile", str(self.file), "--keyfile", str(self.key)]


def own(directory: Path, *names: str, name: str = "own", days: int = 90, options: tuple[str, ...] = ()) -> Certificate:
    """Make a certificate that is signed by itself.

    :param names: hosts; by default those of the loopback address.
    :param name: of its files.
    :param days: that it is valid.
    :param options: more of them for ``openssl req``.
    """
    found = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    hosts = [f"DNS:{each}" for each in names] or ["DNS:localhost", "IP:127.0.0.1"]
    subject = ["-subj", f"/CN={(names or ('localhost',))[0]}", "-addext", f"subjectAltName={','.join(hosts)}"]
    files = ["-keyout", str(found.key), "-out", str(found.file)]
    openssl("req", "-x509", *EC, "-nodes", "-days", str(days), *subject, *files, *options)
    return found


@cache
def loopback(directory: str) -> Certificate:
    """Return a certificate for the loopback address; it is made once."""
    return own(Path(directory))


def expired(directory: Path) -> Certificate:
    """Make a certificate that was valid years ago."""
    found = own(directory, name="expired")
    (directory / "index").touch()
    (directory / "openssl.cnf").write_text(
        f"[ca]\ndefault_ca=here\n[here]\ndatabase={directory}/index\nnew_certs_dir={directory}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
    )
    request = directory / "expired.csr"
    openssl("req", "-new", "-key", str(found.key), "-subj", "/CN=localhost", "-out", str(request))
    term = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"]
    by = ["-config", str(directory / "openssl.cnf"), "-selfsign", "-keyfile", str(found.key), "-batch", "-notext"]
    openssl("ca", *by, *term, "-in", str(request), "-out", str(found.file))
    return found


def signed(directory: Path, authority: Certificate, name: str, subject: str, extensions: str = "") -> Certificate:
    """Make a certificate that an authority has signed, as clients have it.

    :param subject: as ``openssl req -subj`` takes it.
    :param extensions: as ``openssl x509 -extfile`` reads them, such as ``AUTHORITY``.
    """
    found = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    request = directory / f"{name}.csr"
    openssl("req", "-new", *EC, "-nodes", "-utf8", "-subj", subject, "-keyout", str(found.key), "-out", str(request))
    by = ["-CA", str(authority.file), "-CAkey", str(authority.key), "-CAcreateserial", "-days", "90"]
    if extensions:
        (directory / f"{name}.ext").write_text(extensions)
        by += ["-extfile", str(directory / f"{name}.ext")]
    openssl("x509", "-req", "-in", str(request), *by, "-out", str(found.file))
    return found


def revocations(directory: Path, authority: Certificate, *revoked: Certificate) -> str:
    """Make the revocation list of an authority."""
    place = directory / f"list-{authority.file.stem}"
    place.mkdir()
    (place / "index").touch()
    (place / "openssl.cnf").write_text(
        f"[ca]\ndefault_ca=here\n[here]\ndatabase={place}/index\ndefault_md=sha256\ndefault_crl_days=30\n"
    )
    by = ["-config", str(place / "openssl.cnf"), "-cert", str(authority.file), "-keyfile", str(authority.key)]
    for each in revoked:
        openssl("ca", *by, "-revoke", str(each.file))
    openssl("ca", *by, "-gencrl", "-out", str(place / "list.pem"))
    return (place / "list.pem").read_text()


def openssl(*arguments: str) -> str:
    """Run ``openssl``, and return what it prints."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trusting(certificate: Certificate, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Make the context of a client that trusts a certificate.

    :param version: the only one that it speaks.
    """
    context = ssl.create_default_context(cafile=certificate.file)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context
