"""What a request may be at most."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may be at most, and whether it may be CONNECT.

    :param max_line: bytes of the request line; never more than ``max_head``.
    :param max_head: bytes of the head, the request line included.
    :param max_fields: header fields.
    :param max_body: bytes of the body; 0 is unlimited.
    :param connect: CONNECT is left to the application; otherwise it is refused.
    """

    max_line: int = 16384
    max_head: int = 131072
    max_fields: int = 200
    max_body: int = 1 << 30
    connect: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_line", min(self.max_line, self.max_head))
