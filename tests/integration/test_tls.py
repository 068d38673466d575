"""TLS: what an application sees of it, which certificate whom is shown, clients that do it wrong or slowly."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.certificates import AUTHORITY, Certificate, expired, openssl, own, revocations, signed, trusting
from integration.client import Client, Response, fetch, request
from integration.gate import Gate
from integration.server import Finished, Server, run

V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
ELSEWHERE = "127.0.0.2"  # a loopback address too
SPAWN = (sys.executable, "-m", "spawning")
ONE = ("-s", "1", "-t", "4", "-l", "/dev/null")


@pytest.fixture(scope="module")
def secure(certificate: Certificate) -> Iterator[Server]:
    """A server of ``apps/basics.py`` over TLS, which tells details."""
    with Server("-v", *certificate.options, *ONE, "basics.application", bind="127.0.0.1:0") as server:
        yield server


class Secure(Client):
    """A connection over TLS.

    :param context: of this end.
    :param name: the host that is asked for.
    :param host: where it is.
    """

    def __init__(self, port: int, context: ssl.SSLContext, name: str = "localhost", host: str = "127.0.0.1") -> None:
        super().__init__(port, host)
        try:
            self.sock: ssl.SSLSocket = context.wrap_socket(self.sock, server_hostname=name, suppress_ragged_eofs=False)
        except BaseException:
            self.sock.close()
            raise


def environ(client: Client) -> dict[str, str]:
    found: dict[str, str] = json.loads(client.get("/environ").body)
    return found


# What an application sees --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "shown"), [(V1_2, "TLSv1.2"), (V1_3, "TLSv1.3")])
def test_the_environ_says_what_is_spoken(
    secure: Server, certificate: Certificate, version: ssl.TLSVersion, shown: str
) -> None:
    assert secure.url == f"https://127.0.0.1:{secure.port}"
    with Secure(secure.port, trusting(certificate, version)) as client:
        first, second = environ(client), environ(client)
        cipher = client.sock.cipher()
    assert cipher is not None
    for found in (first, second):
        assert found["wsgi.url_scheme"] == "https"
        assert found["HTTPS"] == "on"
        assert found["SERVER_PORT"] == str(secure.port)
        assert found["REMOTE_ADDR"] == "127.0.0.1"
        assert (found["SSL_PROTOCOL"], found["SSL_CIPHER"]) == (shown, cipher[0])
        assert found["SSL_CLIENT_VERIFY"] == "NONE"
        assert "SSL_CLIENT_CERT" not in found


@pytest.mark.parametrize(
    ("offered", "chosen"), [([], None), (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h2"], None)]
)
def test_http_1_1_is_agreed_on(
    secure: Server, certificate: Certificate, offered: list[str], chosen: str | None
) -> None:
    context = trusting(certificate)
    if offered:
        context.set_alpn_protocols(offered)
    with Secure(secure.port, context) as client:
        assert client.sock.selected_alpn_protocol() == chosen
        assert client.get("/hello").status == 200


# Requests and responses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_large_bodies_and_responses_come_whole(
    secure: Server, certificate: Certificate, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    body = bytes(octet % 251 for octet in range(3_000_000))
    file = tmp_path / "file"
    file.write_bytes(body)
    with Secure(secure.port, trusting(certificate, version)) as client:
        assert client.post("/echo", body).body == body
        assert client.get(f"/file?path={file}").body == body
        assert client.get("/hello").text == "Hello, world!\n"


def test_requests_are_read_however_they_are_cut_into_records(secure: Server, certificate: Certificate) -> None:
    head = request("/hello")
    with Secure(secure.port, trusting(certificate)) as client:
        client.send(head * 50)
        assert [client.read().status for _ in range(50)] == [200] * 50
        for octet in head:
            client.send(bytes([octet]))
        assert client.read().status == 200
        client.send(head + head[:10])
        assert client.read().status == 200
        client.send(head[10:])
        assert client.read().status == 200


def test_a_client_that_takes_nothing_holds_no_thread(secure: Server, certificate: Certificate) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(6):  # more than threads
            client = stack.enter_context(Secure(secure.port, trusting(certificate)))
            client.send(request("/repeat?bytes=8000000"))
        assert fetch(secure.where, "/hello").status == 200
        assert len(client.read().body) == 8_000_000


def test_the_end_is_said_behind_the_last_response(secure: Server, certificate: Certificate) -> None:
    with Secure(secure.port, trusting(certificate)) as client:
        assert client.get("/hello", "Connection: close").closes
        assert client.read_eof() == b""  # else: an EOF that violates the protocol


# Who does it wrong ---------------------------------------------------------------------------------------------------


def test_plain_http_is_told_to_speak_tls(secure: Server) -> None:
    with Client(secure.port) as client:
        response = client.get("/hello")
        assert (response.status, response.closes) == (400, True)
        assert response.text == "400 Bad Request: plain HTTP where TLS is spoken; use https\n"
        assert client.read_eof() == b""


@pytest.mark.parametrize("data", [b"\x00\x01\x02", b"\r\n\r\n\0\r\nQUIT\n", b"\x80\x2e\x01\x00\x02", b"ssh-2.0"])
def test_what_is_neither_tls_nor_http_is_closed(secure: Server, data: bytes) -> None:
    mark = secure.mark()
    with Client(secure.port) as client:
        client.send(data)
        assert client.read_eof() == b""
    secure.wait_for_log(r"DEBUG connection closed, no TLS address=127\.0\.0\.1", after=mark)


def test_tls_where_http_is_spoken_is_closed_with_one_line() -> None:
    with Server("-v", *ONE, "basics.application") as server:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError):
            Secure(server.port, context)
        server.wait_for_log("DEBUG connection closed address=127.0.0.1 protocol=TLS")


def test_a_handshake_that_fails_is_one_line(secure: Server) -> None:
    mark = secure.mark()
    with pytest.raises(ssl.SSLCertVerificationError):
        Secure(secure.port, ssl.create_default_context())
    secure.wait_for_log(r"DEBUG TLS handshake failed address=127\.0\.0\.1 reason=.*unknown ca", after=mark)
    assert fetch(secure.where, "/hello").status == 200


def test_old_versions_are_refused(secure: Server, certificate: Certificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate.file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        Secure(secure.port, context)


def test_nobody_negotiates_anew(secure: Server) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", "-tls1_2", "-legacy_renegotiation"]
    done = subprocess.run(command, input="R\n", capture_output=True, text=True, check=False, timeout=30)
    assert "RENEGOTIATING" in done.stdout + done.stderr
    assert "no renegotiation" in done.stderr
    assert fetch(secure.where, "/hello").status == 200


def hello(certificate: Certificate) -> bytes:
    """Return the first bytes of a handshake."""
    to = ssl.MemoryBIO()
    session = trusting(certificate).wrap_bio(ssl.MemoryBIO(), to, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return to.read()


@pytest.mark.parametrize("part", [0, 1, 100, None], ids=["nothing", "an octet", "a part", "a hello"])
def test_a_slow_handshake_holds_no_thread_and_has_the_time_of_a_head(
    certificate: Certificate, part: int | None
) -> None:
    options = ["--head-timeout", "1", *certificate.options, "-s", "1", "-t", "1", "-l", "/dev/null"]
    with Server(*options, "basics.application", bind="127.0.0.1:0") as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Client(server.port)) for _ in range(20)]
        for client in slow:
            client.send(hello(certificate)[:part])
        assert fetch(server.where, "/hello").status == 200
        for client in slow:
            client.read_eof()  # it is closed
        assert fetch(server.where, "/hello").status == 200


def test_clients_that_leave_early_do_no_harm(secure: Server, certificate: Certificate) -> None:
    first = hello(certificate)
    for part in (0, 1, 50, len(first)):
        with Client(secure.port) as client:
            client.send(first[:part])
    with Secure(secure.port, trusting(certificate)) as leaves:
        leaves.send(request("/repeat?bytes=8000000"))
    assert fetch(secure.where, "/hello").status == 200


# Certificates --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[Certificate]:
    """Certificates for several names."""
    directory = tmp_path_factory.mktemp("names")
    hosts = [("a.example", "www.a.example"), ("b.example", "*.b.example"), ("c.example",)]
    return [own(directory, *each, name=each[0]) for each in hosts]


def test_the_certificate_is_chosen_by_name(names: list[Certificate]) -> None:
    a, b, c = names
    options = [option for each in names for option in each.options]
    with Server(*options, *ONE, "basics.application", bind="127.0.0.1:0") as server:
        for name, expected in [
            ("a.example", a), ("www.a.example", a), ("b.example", b), ("x.b.example", b), ("B.Example", b),
            ("c.example", c),
        ]:  # fmt: skip
            with Secure(server.port, trusting(expected), name) as client:
                assert client.get("/hello").status == 200
        for name in ("d.example", "x.y.b.example", "x.c.example"):
            assert shown(server.port, name) == shown(server.port, "a.example")


def shown(port: int, name: str) -> bytes | None:
    """Return the certificate that a client is shown who asks for a name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with Secure(port, context, name) as client:
        return client.sock.getpeercert(binary_form=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Who signs the certificates of clients."""
    return own(tmp_path_factory.mktemp("authority"), "authority", name="authority")


@pytest.fixture(scope="module")
def known(authority: Certificate) -> Certificate:
    """A client's certificate."""
    return signed(authority.file.parent, authority, "known", "/C=DE/O=A, B/OU=Größe/CN=known")


@pytest.fixture(scope="module")
def asking(certificate: Certificate, authority: Certificate) -> Iterator[Server]:
    """A server that wants to know who its clients are."""
    options = [*certificate.options, "--ca-certs", str(authority.file), "--client-certs", "optional"]
    with Server("-v", *options, *ONE, "basics.application", bind="127.0.0.1:0") as server:
        yield server


@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_a_client_with_a_certificate_is_known(
    asking: Server, certificate: Certificate, known: Certificate, version: ssl.TLSVersion
) -> None:
    context = trusting(certificate, version)
    context.load_cert_chain(known.file, known.key)
    with Secure(asking.port, context) as client:
        for _ in range(2):
            found = environ(client)
            assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
            assert found["SSL_CLIENT_S_DN"] == r"CN=known,OU=Größe,O=A\, B,C=DE".encode().decode("latin-1")
            assert ssl.PEM_cert_to_DER_cert(found["SSL_CLIENT_CERT"]) == ssl.PEM_cert_to_DER_cert(
                openssl("x509", "-in", str(known.file))
            )
    with Secure(asking.port, trusting(certificate, version)) as client:
        found = environ(client)
        assert found["SSL_CLIENT_VERIFY"] == "NONE"
        assert not {"SSL_CLIENT_S_DN", "SSL_CLIENT_CERT"} & found.keys()


def ask(port: int, context: ssl.SSLContext) -> Response | None:
    """Ask for a page; None: the handshake fails, which a client of TLS 1.3 finds out when it reads."""
    try:
        with Secure(port, context) as client:
            return client.get("/hello")
    except (ssl.SSLError, ConnectionError):
        return None


def test_a_certificate_of_somebody_else_is_refused(asking: Server, certificate: Certificate, tmp_path: Path) -> None:
    stranger = own(tmp_path, "stranger")
    context = trusting(certificate)
    context.load_cert_chain(stranger.file, stranger.key)
    assert ask(asking.port, context) is None
    asking.wait_for_log(r"DEBUG TLS handshake failed address=127\.0\.0\.1 reason=.*certificate verify failed")


def test_clients_may_need_a_certificate_that_has_not_been_revoked(
    certificate: Certificate, authority: Certificate, known: Certificate, tmp_path: Path
) -> None:
    revoked = signed(tmp_path, authority, "revoked", "/CN=revoked")
    (tmp_path / "list.pem").write_text(revocations(tmp_path, authority, revoked))
    options = [*certificate.options, "--ca-certs", str(authority.file), "--crl-file", str(tmp_path / "list.pem")]
    with Server(*options, *ONE, "basics.application", bind="127.0.0.1:0") as server:
        assert ask(server.port, trusting(certificate)) is None
        for each, served in ((revoked, False), (known, True)):
            context = trusting(certificate)
            context.load_cert_chain(each.file, each.key)
            answer = ask(server.port, context)
            assert (answer is not None and answer.status == 200) is served


def test_the_whole_chain_of_a_client_is_looked_up_in_the_lists(certificate: Certificate, tmp_path: Path) -> None:
    """An authority between the root and a client may have been revoked too; one without a list is not good either."""
    root = own(tmp_path, "root", name="root")
    good, revoked, unlisted = (
        signed(tmp_path, root, name, f"/CN={name}", AUTHORITY) for name in ("good", "revoked", "unlisted")
    )
    authorities, lists = tmp_path / "authorities.pem", tmp_path / "lists.pem"
    authorities.write_text("".join(each.file.read_text() for each in (root, good, revoked, unlisted)))
    lists.write_text(
        revocations(tmp_path, root, revoked) + revocations(tmp_path, good) + revocations(tmp_path, revoked)
    )
    options = [*certificate.options, "--ca-certs", str(authorities), "--crl-file", str(lists)]
    with Server("-v", *options, *ONE, "basics.application", bind="127.0.0.1:0") as server:
        for each, why in ((revoked, "certificate revoked"), (unlisted, "unable to get certificate CRL"), (good, "")):
            client = signed(tmp_path, each, f"client-of-{each.file.stem}", "/CN=client")
            context = trusting(certificate)
            context.load_cert_chain(client.file, client.key)
            answer = ask(server.port, context)
            assert (answer is None) == bool(why)
            if why:
                server.wait_for_log(f"DEBUG TLS handshake failed .*certificate verify failed: {why}")


@pytest.mark.parametrize("way", ["file", "command"])
def test_a_key_may_be_encrypted(certificate: Certificate, tmp_path: Path, way: str) -> None:
    key, passphrase = tmp_path / "encrypted.key", tmp_path / "passphrase"
    passphrase.write_text("söcret words\n", "utf-8")
    openssl("pkey", "-in", str(certificate.key), "-out", str(key), "-aes256", "-passout", f"file:{passphrase}")
    said = {
        "file": ["--key-passphrase-file", str(passphrase)],
        "command": ["--key-passphrase-command", f"cat '{passphrase}'"],
    }
    options = ["--certfile", str(certificate.file), "--keyfile", str(key), *said[way]]
    with Server(*options, *ONE, "basics.application", bind="127.0.0.1:0") as server:
        assert ask(server.port, trusting(certificate)) is not None
        assert server.reload()
        assert ask(server.port, trusting(certificate)) is not None


def test_versions_and_ciphers_are_those_that_are_asked_for(certificate: Certificate) -> None:
    options = [*certificate.options, "--tls-min-version", "1.3"]
    with Server(*options, *ONE, "basics.application", bind="127.0.0.1:0") as server:
        assert ask(server.port, trusting(certificate, V1_2)) is None
        assert ask(server.port, trusting(certificate, V1_3)) is not None
    options = [*certificate.options, "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"]
    with (
        Server(*options, *ONE, "basics.application", bind="127.0.0.1:0") as server,
        Secure(server.port, trusting(certificate, V1_2)) as client,
    ):
        assert environ(client)["SSL_CIPHER"] == "ECDHE-ECDSA-AES128-GCM-SHA256"


# Listeners -----------------------------------------------------------------------------------------------------------


def test_plain_and_secure_listeners_are_beside_each_other(certificate: Certificate, tmp_path: Path) -> None:
    binds = [option for each in ("127.0.0.1:0", f"{ELSEWHERE}:0?tls") for option in ("-b", each)]
    path = tmp_path / "socket"
    options = [*binds, "-b", f"unix:{path}?tls", *certificate.options, *ONE, "basics.application"]
    with Server(command=[*SPAWN, *options]) as server:
        also = server.wait_for_log(r" ready .*also=\S*https://127\.0\.0\.2:(\d+)")
        assert json.loads(fetch(server.port, "/environ").body)["wsgi.url_scheme"] == "http"
        with Secure(int(also[1]), trusting(certificate), host=ELSEWHERE) as client:
            assert environ(client)["wsgi.url_scheme"] == "https"
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(path))
            with trusting(certificate).wrap_socket(plain, server_hostname="localhost") as sock:
                sock.sendall(request("/environ", "Connection: close"))
                received = b"".join(iter(lambda: sock.recv(65536), b""))
        found = json.loads(received.partition(b"\r\n\r\n")[2])
        assert (found["wsgi.url_scheme"], found["REMOTE_ADDR"], found["SERVER_PORT"]) == ("https", "", "443")


def test_a_proxy_header_comes_before_the_handshake(certificate: Certificate) -> None:
    with (
        Server(*certificate.options, *ONE, "basics.application", bind="127.0.0.1:0?proxy&tls=yes") as server,
        socket.create_connection(("127.0.0.1", server.port), 30) as plain,
    ):
        plain.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
        with trusting(certificate).wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(request("/environ", "Connection: close"))
            received = b"".join(iter(lambda: sock.recv(65536), b""))
    found = json.loads(received.partition(b"\r\n\r\n")[2])
    assert (found["REMOTE_ADDR"], found["REMOTE_PORT"], found["HTTPS"]) == ("192.0.2.7", "4711", "on")


# A reload ------------------------------------------------------------------------------------------------------------


def test_connections_live_through_a_reload(certificate: Certificate, gate: Gate) -> None:
    options = [*certificate.options, "-s", "1", "-t", "2", "-l", "/dev/null"]
    with (
        Server(*options, "basics.application", bind="127.0.0.1:0") as server,
        Secure(server.port, trusting(certificate)) as idle,
        Secure(server.port, trusting(certificate)) as busy,
    ):
        assert idle.get("/hello").status == 200
        busy.send(request(gate.target))
        gate.wait_entered()
        assert server.reload()
        gate.open()
        assert busy.read().body == b"held\n"
        assert idle.get("/hello").status == 200


# HTTPS for all -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redirecting(certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("challenges")
    (directory / "a-token_1").write_text("proof")
    (directory.parent / "secret").write_text("secret")
    binds = [option for each in ("127.0.0.1:0", f"{ELSEWHERE}:0?tls") for option in ("-b", each)]
    options = [*binds, *certificate.options, "--redirect-to-https", "--acme-directory", str(directory), *ONE]
    command = [*SPAWN, *options, "--ready-path", "/hello", "basics.application"]
    with Server(command=command) as server:
        yield server


@pytest.mark.parametrize("target", ["/", "/a%20b?c=d&e", "/echo?x=/.well-known/acme-challenge/a-token_1"])
def test_plain_http_is_redirected(redirecting: Server, certificate: Certificate, target: str) -> None:
    port = redirecting.wait_for_log(r" ready .*also=\S*https://127\.0\.0\.2:(\d+)")[1]
    with Client(redirecting.port) as client:
        for response in (client.get(target), client.post(target, b"x")):
            assert (response.status, response["location"]) == (308, f"https://localhost:{port}{target}")
    with Secure(int(port), trusting(certificate), host=ELSEWHERE) as client:
        assert client.get("/hello").status == 200


def test_the_ready_path_is_not_redirected(redirecting: Server) -> None:
    assert fetch(redirecting.port, "/hello").status == 200


@pytest.mark.parametrize(
    ("token", "status"), [("a-token_1", 200), ("b", 404), ("", 404), ("..%2fsecret", 404), ("../secret", 404)]
)
def test_challenges_are_answered_from_the_directory(redirecting: Server, token: str, status: int) -> None:
    response = fetch(redirecting.port, f"/.well-known/acme-challenge/{token}")
    assert response.status == status
    assert (response.body == b"proof") is (status == 200)


# Bad input -----------------------------------------------------------------------------------------------------------

BAD = {
    "no certificate": ("{dir}/none.pem", "", "option --certfile: there is no file {dir}/none.pem"),
    "a directory": ("{dir}", "", "option --certfile: {dir} cannot be read: Is a directory"),
    "no key": ("{own}.pem", "{dir}/none", "option --keyfile: there is no file {dir}/none"),
    "no PEM": ("{dir}/text", "{own}.key", "option --certfile: {dir}/text holds no certificate (PEM)"),
    "half a PEM": ("{dir}/half", "{own}.key", "option --certfile: {dir}/half holds a certificate that is malformed"),
    "no key in it": (
        "{own}.pem", "", "option --certfile: {own}.pem holds no private key (PEM); name its file with --keyfile",
    ),
    "no key there": ("{own}.pem", "{own}.pem", "option --keyfile: {own}.pem holds no private key (PEM)"),
    "half a key": ("{own}.pem", "{dir}/half.key", "option --keyfile: {own}.pem and {dir}/half.key cannot be used"),
    "another key": (
        "{own}.pem", "{other}.key",
        "option --keyfile: the key in {other}.key does not belong to the certificate in {own}.pem; name its own",
    ),
    "encrypted": (
        "{own}.pem", "{dir}/encrypted.key",
        "option --keyfile: the key is encrypted; say --key-passphrase-file or --key-passphrase-command",
    ),
    "no passphrase": (
        "{own}.pem", "{dir}/encrypted.key --key-passphrase-file {dir}/none",
        "option --key-passphrase-file: there is no file {dir}/none",
    ),
    "wrong passphrase": (
        "{own}.pem", "{dir}/encrypted.key --key-passphrase-file {dir}/text",
        "option --key-passphrase-file: this is not the passphrase of the key in {dir}/encrypted.key",
    ),
    "wrong command": (
        "{own}.pem", "{dir}/encrypted.key --key-passphrase-command {dir}/none",
        "option --key-passphrase-command: it cannot be run: [Errno 2] No such file or directory: '{dir}/none'",
    ),
    "failing command": (
        "{own}.pem", "{dir}/encrypted.key --key-passphrase-command false",
        "option --key-passphrase-command: it has failed with status 1",
    ),
    "wrong words": (
        "{own}.pem", "{dir}/encrypted.key --key-passphrase-command echo",
        "option --key-passphrase-command: this is not the passphrase of the key in {dir}/encrypted.key",
    ),
    "two keys": (
        "{own}.pem", "{own}.key --keyfile {own}.key",
        "option --keyfile: there are more keys than certificates; give each its --certfile",
    ),
    "a key too few": (
        "{own}.pem --certfile {other}.pem", "{own}.key",
        "option --keyfile: there are fewer keys than certificates; say --keyfile as often as --certfile,",
    ),
    "no authorities": (
        "{own}.pem", "{own}.key --ca-certs {dir}/none", "option --ca-certs: there is no file {dir}/none",
    ),
    "authorities that are none": (
        "{own}.pem", "{own}.key --ca-certs {dir}/text",
        "option --ca-certs: {dir}/text holds no certificates (PEM)",
    ),
    "revocations that are none": (
        "{own}.pem", "{own}.key --ca-certs {own}.pem --crl-file {dir}/text",
        "option --crl-file: {dir}/text holds no revocation lists (PEM)",
    ),
    "ciphers": (
        "{own}.pem", "{own}.key --ciphers NONESUCH",
        "option --ciphers: 'NONESUCH' names no cipher that OpenSSL has; see `openssl ciphers`",
    ),
    "tls without": ("", "", "option --bind: 127.0.0.1:0?tls needs a certificate; give it with --certfile"),
    "key alone": ("", "{own}.key", "option --keyfile has no effect without --certfile"),
    "redirect": (
        "", " --redirect-to-https",
        "option --redirect-to-https: no listener speaks TLS; give one a certificate (--certfile), or say --https-port",
    ),
    "challenges": (
        "", " --acme-directory {dir}/none", "option --acme-directory: there is no directory {dir}/none; make it first",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("bad")
    (directory / "text").write_text("nothing of the kind\n")
    pem, key = certificate.file.read_text(), certificate.key.read_text()
    (directory / "half").write_text(pem[:100] + "\n-----END CERTIFICATE-----\n")
    (directory / "half.key").write_text(key[:80] + "\n-----END PRIVATE KEY-----\n")
    other = own(directory, name="other")
    encrypted = directory / "encrypted.key"
    openssl("pkey", "-in", str(certificate.key), "-out", str(encrypted), "-aes256", "-passout", "pass:right")
    return {"dir": str(directory), "own": str(certificate.file)[:-4], "other": str(other.file)[:-4]}


@pytest.mark.parametrize("check", [False, True], ids=["start", "check"])
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_one_line(files: dict[str, str], case: str, check: bool) -> None:
    certfile, rest, line = (text.format_map(files) for text in BAD[case])
    keyfile, *more = rest.split(" ")
    options = [f"--certfile {certfile}"] * bool(certfile) + [f"--keyfile {keyfile}"] * bool(keyfile)
    typed = [*" ".join(options).split(), *more, *(["--check-config"] if check else []), *ONE, "basics.application"]
    bind = "127.0.0.1:0?tls" if case == "tls without" else "127.0.0.1:0"
    with Server(command=[*SPAWN, "--bind", bind, *typed], ready=False) as server:
        finished = Finished(server.wait(), "", server.log())
    assert finished.status == 2, finished
    (told,) = finished.err.splitlines()
    assert told.startswith(f"spawn: {line}"), told


@pytest.mark.parametrize("check", [False, True], ids=["start", "check"])
def test_a_certificate_that_has_expired_is_warned_of_and_served(tmp_path: Path, check: bool) -> None:
    old = expired(tmp_path)
    options = [*old.options, *ONE, "basics.application"]
    warning = rf"WARNING certificate has expired file={old.file} ended=\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
    if check:
        finished = run("--check-config", *options)
        assert finished.status == 0, finished
        assert "certificate has expired" in finished.err
        return
    with Server(*options, bind="127.0.0.1:0") as server:
        server.wait_for_log(warning)
        assert fetch(server.where, "/hello").status == 200
