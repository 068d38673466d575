"""What a client asks for to open a WebSocket, and the answer (RFC 6455 section 4.2, RFC 7692 section 7.1). Pure."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.utilities import generate_accept_token

VERSION: Final = "13"

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# All that an offer of permessage-deflate may say (RFC 7692 section 7.1.2); what says anything else is declined.
_PARAMETER: Final = re.compile(
    r"(?:(?:server|client)_no_context_takeover|client_max_window_bits"
    r'|(?:server|client)_max_window_bits=(?:(?:8|9|1[0-5])|"(?:8|9|1[0-5])"))'
)


class Refused(Exception):
    """The connection cannot be opened.

    :ivar status: of the response, ``"400 Bad Request"``.
    :ivar fields: of the response.
    """

    def __init__(self, status: str, reason: str, *fields: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.fields = [*fields, ("Content-Type", "text/plain; charset=utf-8")]


class Accepted:
    """The answer to a client that may open a connection.

    :ivar protocol: the subprotocol; None: none.
    :ivar extensions: what both sides use.
    :ivar head: the response, 101.
    """

    def __init__(self, key: str, protocol: str | None, extension: tuple[PerMessageDeflate, str] | None) -> None:
        self.protocol = protocol
        self.extensions: list[Extension] = [extension[0]] if extension else []
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {generate_accept_token(key.encode('ascii')).decode('ascii')}",
        ]
        if protocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        if extension:
            lines.append(f"Sec-WebSocket-Extensions: {extension[1]}")
        self.head = "\r\n".join([*lines, "", ""]).encode("latin-1")


def accept(
    environ: dict[str, Any],
    *,
    protocols: Sequence[str] = (),
    allows: Callable[[str | None], object] | None = None,
    compression: bool = True,
) -> Accepted:
    """Look at a request.

    :param environ: of the request.
    :param protocols: subprotocols that the application speaks.
    :param allows: whether a page of this origin may connect; None: any may.
    :param compression: messages may be compressed.
    :raises Refused: it does not ask for a WebSocket, or not in a way that can be answered.
    """
    upgrade = ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", VERSION)
    if "websocket" not in _elements(environ.get("HTTP_UPGRADE", "").lower()):
        raise Refused(
            "426 Upgrade Required", "this is a WebSocket, and the request has no Upgrade: websocket", *upgrade
        )
    if environ["REQUEST_METHOD"] != "GET" or environ.get("SERVER_PROTOCOL") != "HTTP/1.1":
        raise Refused("400 Bad Request", "a WebSocket is opened by GET and HTTP/1.1")
    if "upgrade" not in _elements(environ.get("HTTP_CONNECTION", "").lower()):
        raise Refused("400 Bad Request", "the request has no Connection: Upgrade")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip() != VERSION:
        raise Refused("426 Upgrade Required", f"the version of WebSocket must be {VERSION}", *upgrade)
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip()
    if not _is_key(key):
        raise Refused("400 Bad Request", "Sec-WebSocket-Key must be 16 bytes in base64")
    if allows is not None and not allows(environ.get("HTTP_ORIGIN")):
        raise Refused("403 Forbidden", "pages of this origin may not connect")
    asked = _elements(environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""))
    protocol = next((each for each in asked if each in protocols and _TOKEN.fullmatch(each)), None)
    offers = _elements(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "")) if compression else []
    return Accepted(key, protocol, _deflate(offers))


def _elements(value: str) -> list[str]:
    return [each.strip(" \t") for each in value.split(",")]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _deflate(offers: list[str]) -> tuple[PerMessageDeflate, str] | None:
    """Choose the first offer that can be taken, and say how.

    Nothing is kept from one message to the next: compressing with what came before would take 300 KiB a connection.
    """
    for offer in offers:
        name, *parameters = (each.strip(" \t") for each in offer.split(";"))
        names = [each.partition("=")[0] for each in parameters]
        well_formed = all(_PARAMETER.fullmatch(each) for each in parameters) and len(set(names)) == len(names)
        if name != PerMessageDeflate.name or not well_formed:
            continue
        extension = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
        said = extension.accept(offer.replace('"', ""))
        if isinstance(said, str):  # it is none when a window is smaller than zlib can make it
            return extension, f"{name}; {said}"
    return None
