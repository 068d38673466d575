"""Keys of session tickets (RFC 5077, RFC 8446 section 4.6.1), so that a session goes on with whichever worker has them.

OpenSSL makes such keys itself, others in each process. The ``ssl`` module has no function that sets them, so this one
calls OpenSSL's (``SSL_CTX_set_tlsext_ticket_keys(3)``) with the pointer that a context has behind its head. Whether it
is there is found out by a process of its own (:func:`trouble`), which may crash: this file is a program, too.
"""

import contextlib
import ctypes
import hashlib
import os
import ssl
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

LENGTH: Final = 80  # bytes of the keys: a name, and one each for HMAC-SHA-256 and AES-256
_GET, _SET = 58, 59  # SSL_CTRL_GET_TLSEXT_TICKET_KEYS and SSL_CTRL_SET_TLSEXT_TICKET_KEYS of openssl/ssl.h
_SECONDS: Final = 10.0  # for the other process


def new() -> bytes:
    """Make keys."""
    return os.urandom(LENGTH)


def of_policy(keys: bytes, policy: str) -> bytes:
    """Return the keys for one policy of who may be a client.

    OpenSSL does not look at certificates again when a session goes on. So a ticket that was given where no certificate
    was needed, or under another authority, must not be worth anything where one is.

    :param keys: those that are shared.
    :param policy: all that tells policies apart.
    """
    return hashlib.shake_256(keys + policy.encode()).digest(LENGTH)


def share(context: ssl.SSLContext, keys: bytes) -> None:
    """Have a context use keys, for tickets that it makes and for those that clients bring.

    :raises OSError: OpenSSL does not take them.
    """
    if not _control(context, _SET, keys):
        raise OSError("OpenSSL does not take the keys of session tickets")


def _control(context: ssl.SSLContext, command: int, data: Any) -> int:
    import _ssl

    library = ctypes.CDLL(getattr(_ssl, "__file__", None))
    call = library.SSL_CTX_ctrl
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    answer: int = call(pointer, command, LENGTH if data is not None else 0, data)
    return answer


def trouble(interpreter: Sequence[str]) -> str:
    """Find out in another process whether keys can be shared; return why not, or nothing.

    :param interpreter: the command that starts one like this.
    """
    try:
        done = subprocess.run(
            [*interpreter, __file__], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        return last[0] if last else f"status {done.returncode}"
    return ""


def main() -> None:
    """Set keys, and see that they are there, in two contexts that do not know each other."""
    keys = [new(), new()]
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in keys]
    if _control(contexts[0], _GET, None) != LENGTH:
        raise SystemExit("keys of session tickets have another length")
    for context, each in zip(contexts, keys, strict=True):
        share(context, each)
    for context, each in zip(contexts, keys, strict=True):
        found = ctypes.create_string_buffer(LENGTH)
        if not _control(context, _GET, found) or found.raw != each:
            raise SystemExit("keys of session tickets are lost")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
    sys.exit(0)
