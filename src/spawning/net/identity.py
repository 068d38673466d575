"""Who a server is to TLS clients: its certificates and keys, and whose certificates it takes from them.

The controller reads the files (:func:`read`), and finds out whether they can be used; workers get what it has read, in
a file in memory (:func:`lay_down`, :func:`pick_up`), so that all of them, also one that is forked much later, have the
same, whatever has become of the files. Nothing here knows connections.
"""

import fcntl
import json
import os
import shlex
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from spawning.errors import ConfigError
from spawning.memo import ENTRY, STRING, Memo
from spawning.net.certificate import Certificate, certificates
from spawning.net.certificate import read as read_certificate
from spawning.settings import Settings

HTTP_1_1: Final = "http/1.1"  # its name in ALPN; also what is spoken where nothing has been agreed on
PROTOCOLS: Final = (HTTP_1_1,)

_COMMAND_SECONDS: Final = 10.0  # that the command for the passphrase may take
# SSL_OP_PRIORITIZE_CHACHA of openssl/ssl.h, which ``ssl`` has no name for: our order of ciphers counts, but a client
# whose first one is ChaCha20 has no hardware for AES.
_PRIORITIZE_CHACHA: Final = 0x00200000
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
NAMED: Final = ("certfile", "keyfile", "key_passphrase_file", "key_passphrase_command", "ca_certs", "crl_file")

_said: Final[Memo[bytes, Mapping[str, str]]] = Memo(256, 1 << 20, 1 << 16)  # certificate of a client to its words


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key.

    :param certificate: PEM, with the chain behind it.
    :param key: PEM, perhaps encrypted.
    :param file: where the certificate is from.
    :param key_file: where the key is from.
    """

    certificate: str
    key: str
    file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class Material:
    """All that has been read.

    :param pairs: the first one serves clients that name no host, or one that no certificate is for.
    :param passphrase: of the keys that are encrypted.
    :param authorities: PEM: who signs clients' certificates; empty: nobody is asked for one.
    :param revoked: PEM: revocation lists.
    """

    pairs: list[Pair] = field(default_factory=list)
    passphrase: str = ""
    authorities: str = ""
    revoked: str = ""


def policy(material: Material, settings: Settings) -> str:
    """Return what tells apart who may be a client."""
    return json.dumps([material.authorities and settings.client_certs, material.authorities, material.revoked])


class Identity:
    """What a worker is to TLS clients at present. Any thread.

    :ivar context: for handshakes that begin now; replaced whole. None: there is no certificate.
    """

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None


# Reading -------------------------------------------------------------------------------------------------------------


class Origins:
    """Where settings came from, for messages.

    :param sources: name of a setting to where its value came from.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def __getitem__(self, name: str) -> str:
        return self._sources.get(name, f"setting {name}")


def is_wanted(settings: Settings) -> bool:
    return bool(settings.certfile)


def read(settings: Settings, sources: Mapping[str, str], directory: str) -> Material:
    """Read the files that the settings name.

    :param sources: name of a setting to where its value came from.
    :param directory: where relative paths begin.
    :raises ConfigError: one cannot be read, or holds something else.
    """
    origins = Origins(sources)
    if len(settings.keyfile) > len(settings.certfile):
        raise ConfigError(f"{origins['keyfile']}: there are more keys than certificates; give each its --certfile")
    if settings.keyfile and len(settings.keyfile) < len(settings.certfile):
        raise ConfigError(
            f"{origins['keyfile']}: there are fewer keys than certificates; say --keyfile as often as --certfile,"
            " or not at all if each file has both"
        )
    pairs = []
    for number, file in enumerate(settings.certfile):
        certificate = _text(file, directory, origins["certfile"])
        if "-----BEGIN CERTIFICATE-----" not in certificate:
            raise ConfigError(f"{origins['certfile']}: {file} holds no certificate (PEM)")
        key_file = settings.keyfile[number] if settings.keyfile else file
        origin = origins["keyfile" if settings.keyfile else "certfile"]
        key = _text(key_file, directory, origin) if settings.keyfile else certificate
        if "PRIVATE KEY-----" not in key:
            remedy = "" if settings.keyfile else "; name its file with --keyfile"
            raise ConfigError(f"{origin}: {key_file} holds no private key (PEM){remedy}")
        pairs.append(Pair(certificate, key, file, key_file))
    passphrase = _passphrase(settings, origins, directory) if any(map(_is_encrypted, pairs)) else ""
    authorities = _text(settings.ca_certs, directory, origins["ca_certs"]) if settings.ca_certs else ""
    revoked = "".join(_text(file, directory, origins["crl_file"]) for file in settings.crl_file)
    return Material(pairs, passphrase, authorities, revoked)


def _is_encrypted(pair: Pair) -> bool:
    return "ENCRYPTED" in pair.key


def _text(file: str, directory: str, origin: str) -> str:
    try:
        with open(os.path.join(directory, file), encoding="latin-1") as opened:
            return opened.read()
    except FileNotFoundError:
        raise ConfigError(f"{origin}: there is no file {file}") from None
    except PermissionError:
        raise ConfigError(f"{origin}: {file} may not be read by this user; let it (chown, chmod)") from None
    except OSError as error:
        raise ConfigError(f"{origin}: {file} cannot be read: {error.strerror}") from None


def _passphrase(settings: Settings, origins: Origins, directory: str) -> str:
    """Return the passphrase of the keys."""
    if settings.key_passphrase_file is not None:
        return _text(settings.key_passphrase_file, directory, origins["key_passphrase_file"]).rstrip("\r\n")
    if settings.key_passphrase_command is None:
        raise ConfigError(
            f"{origins['keyfile' if settings.keyfile else 'certfile']}: the key is encrypted;"
            " say --key-passphrase-file or --key-passphrase-command"
        )
    origin = origins["key_passphrase_command"]
    try:
        done = subprocess.run(
            shlex.split(settings.key_passphrase_command), cwd=directory, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_COMMAND_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{origin}: it has not ended within {_COMMAND_SECONDS:.0f} s") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{origin}: it cannot be run: {error}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ConfigError(f"{origin}: it has failed with status {done.returncode}{f': {said[-1]}' if said else ''}")
    return done.stdout.decode("latin-1").rstrip("\r\n")


# Using ---------------------------------------------------------------------------------------------------------------


def context_of(material: Material, settings: Settings, sources: Mapping[str, str]) -> ssl.SSLContext:
    """Make the context of new handshakes.

    :param sources: name of a setting to where its value came from.
    :raises ConfigError: something cannot be used: a key does not belong to its certificate, a passphrase is wrong.
    """
    origins = Origins(sources)
    named: dict[tuple[str, ...], ssl.SSLContext] = {}
    for pair in material.pairs:
        names = words(pair, origins).names
        if names not in named:
            named[names] = _empty_context(material, settings, origins)
        _load_pair(named[names], pair, material.passphrase, settings, origins)  # beside one with a key of another kind
    first = next(iter(named.values()))
    if len(named) > 1:
        first.sni_callback = _Choice(named)
    return first


def words(pair: Pair, origins: Origins) -> Certificate:
    """Return what the certificate of a pair says.

    :raises ConfigError: it is malformed.
    """
    try:
        return read_certificate(certificates(pair.certificate)[0])
    except (ValueError, IndexError):
        raise ConfigError(f"{origins['certfile']}: {pair.file} holds a certificate that is malformed") from None


def _empty_context(material: Material, settings: Settings, origins: Origins) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.tls_min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    context.set_alpn_protocols(PROTOCOLS)
    try:
        context.set_ciphers(settings.ciphers)
    except ssl.SSLError:
        raise ConfigError(
            f"{origins['ciphers']}: {settings.ciphers!r} names no cipher that OpenSSL has; see `openssl ciphers`"
        ) from None
    if material.authorities:
        _load(context, material.authorities, f"{origins['ca_certs']}: {settings.ca_certs} holds no certificates (PEM)")
        context.verify_mode = ssl.CERT_OPTIONAL if settings.client_certs == "optional" else ssl.CERT_REQUIRED
    if material.revoked:
        where = ", ".join(settings.crl_file)
        _load(context, material.revoked, f"{origins['crl_file']}: {where} holds no revocation lists (PEM)")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN  # an authority may have been revoked, too; as nginx does
    return context


def _load(context: ssl.SSLContext, text: str, otherwise: str) -> None:
    with _InMemory(text) as path:
        try:
            context.load_verify_locations(path)
        except ssl.SSLError:
            raise ConfigError(otherwise) from None


def _load_pair(context: ssl.SSLContext, pair: Pair, passphrase: str, settings: Settings, origins: Origins) -> None:
    with _InMemory(pair.certificate) as certificate, _InMemory(pair.key) as key:
        try:
            context.load_cert_chain(certificate, key, password=lambda: passphrase.encode("latin-1"))
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(_why_not(pair, error, settings, origins)) from None


def _why_not(pair: Pair, error: Exception, settings: Settings, origins: Origins) -> str:
    """Return, in one line, why OpenSSL does not take a certificate and its key."""
    origin = origins["keyfile" if settings.keyfile else "certfile"]
    reason = getattr(error, "reason", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return f"{origin}: the key in {pair.key_file} does not belong to the certificate in {pair.file}; name its own"
    if _is_encrypted(pair):
        name = "key_passphrase_file" if settings.key_passphrase_file is not None else "key_passphrase_command"
        return f"{origins[name]}: this is not the passphrase of the key in {pair.key_file}"
    if reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        weak = reason.lower().replace("_", " ")
        return f"{origins['certfile']}: {pair.file} is too weak for OpenSSL ({weak}); get a new certificate"
    told = str(reason).lower().replace("_", " ")
    return f"{origin}: {pair.file} and {pair.key_file} cannot be used ({told}); they have to be PEM"


class _Choice:
    """Chooses the certificate for the name that a client asks for (SNI, RFC 6066 section 3).

    :param named: names of certificates to their contexts; the first one also serves all other names.
    """

    def __init__(self, named: Mapping[tuple[str, ...], ssl.SSLContext]) -> None:
        self._contexts: dict[str, ssl.SSLContext] = {}
        for names, context in named.items():
            for name in names:
                self._contexts.setdefault(name, context)

    def __call__(self, session: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower()
        found = self._contexts.get(name) or self._contexts.get(f"*.{name.partition('.')[2]}")
        if found is not None:
            session.context = found


class _InMemory:
    """A path by which OpenSSL finds a text that is in no file."""

    def __init__(self, text: str) -> None:
        self._fd = _file_in_memory(text.encode("latin-1"))

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


# Telling who has ended, or will soon ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Term:
    """Until when a certificate is valid.

    :param file: where it is from.
    :param names: as in :class:`~spawning.net.certificate.Certificate`.
    :param begins: seconds since the epoch.
    :param ends: likewise.
    """

    file: str
    names: tuple[str, ...]
    begins: float
    ends: float

    def days_left(self, now: float) -> int:
        """Return the whole days that are left; negative when there are none."""
        return int((self.ends - now) // 86400)

    def warning(self, now: float, soon: int) -> str:
        """Return what is to be said of one that is not valid, or only for so many days; empty if nothing is."""
        if now >= self.ends:
            return f"certificate has expired file={self.file} ended={_date(self.ends)}"
        if now < self.begins:
            return f"certificate is not valid yet file={self.file} begins={_date(self.begins)}"
        if self.days_left(now) < soon:
            return f"certificate expires soon file={self.file} days={self.days_left(now)} ends={_date(self.ends)}"
        return ""


def terms(material: Material) -> list[Term]:
    """List until when the certificates are valid."""
    found = [(pair, words(pair, Origins({}))) for pair in material.pairs]
    return [Term(pair.file, each.names, each.begins, each.ends) for pair, each in found]


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


# From process to process ---------------------------------------------------------------------------------------------


def lay_down(material: Material) -> int:
    """Write all into a file in memory, which nobody can change any more; return its descriptor."""
    return _file_in_memory(json.dumps(asdict(material)).encode())


def pick_up(fd: int) -> Material:
    """Read what :func:`lay_down` has written.

    :raises ValueError: it is something else.
    """
    values: dict[str, Any] = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    pairs = [Pair(**each) for each in values.pop("pairs")]
    return Material(pairs, **{name: value for name, value in values.items() if name in Material.__dataclass_fields__})


def _file_in_memory(data: bytes) -> int:
    fd = os.memfd_create("spawning-tls", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        written = 0
        while written < len(data):
            written += os.write(fd, data[written:])
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


# What environs say ---------------------------------------------------------------------------------------------------


def said_of(session: ssl.SSLObject) -> dict[str, str]:
    """Return what environs say of a session, under the names of mod_ssl.

    PEP 3333 wants the environ to be a dictionary and no subclass of it, so nothing in it can be made when somebody
    looks. It is made once a connection instead, and a client's certificate once a certificate.
    """
    cipher = session.cipher()
    said = {
        "SSL_PROTOCOL": session.version() or "",
        "SSL_CIPHER": cipher[0] if cipher else "",
        "SSL_CLIENT_VERIFY": "NONE",
    }
    der = session.getpeercert(binary_form=True)
    return {**said, **_of_client(der)} if der else said


def _of_client(der: bytes) -> Mapping[str, str]:
    said = _said.get(der)
    if said is None:
        try:
            subject = read_certificate(der).subject
        except ValueError:  # OpenSSL is less particular
            subject = ""
        said = {
            "SSL_CLIENT_VERIFY": "SUCCESS",
            "SSL_CLIENT_S_DN": subject.encode().decode("latin-1"),  # PEP 3333, "Unicode Issues"
            "SSL_CLIENT_CERT": ssl.DER_cert_to_PEM_cert(der),
        }
        _said.put(der, said, ENTRY + 4 * STRING + 4 * len(der))
    return said


def files_of(settings: Settings) -> Sequence[str]:
    """List the files that the settings name."""
    values = (getattr(settings, name) for name in NAMED if name != "key_passphrase_command")
    return [file for value in values for file in ((value,) if isinstance(value, str) else value or ())]
