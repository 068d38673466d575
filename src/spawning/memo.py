"""Memories of what was derived from what clients send: bounded, since clients send what they like.

Clients repeat themselves, so it pays to keep what was made of a request line, a field, a user agent. Each such memory
is a :class:`Memo`; nothing else in the server remembers across connections. A memory that is full is emptied: what
comes again is soon there again, and to know what was used last would cost something at each look-up.
"""

from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRY: Final = 128  # bytes that an entry takes in the dictionary itself, which grows by doubling
STRING: Final = 64  # bytes that a string or bytes object takes beside its characters, rounded up


class Memo(dict[K, V]):
    """One memory, bounded in entries and in bytes. It is read as a dictionary, and filled by :meth:`put` only.

    On the hot path call its ``get`` bound to a global name: as a method of a subclass it takes 10 ns more.

    Any thread. Look-ups and insertions are single steps of a dictionary. Two insertions at once may lose the size of
    one of the two from the count, which then is too low by at most ``largest`` until the memory is emptied.

    :param entries: most entries.
    :param size: most bytes of all entries together.
    :param largest: most bytes of one entry; what is larger is not remembered.

    :ivar left: bytes that may still be put in before the memory is emptied.
    """

    __slots__ = ("_least", "largest", "left", "size")

    def __init__(self, entries: int, size: int, largest: int) -> None:
        super().__init__()
        self._least = size // entries  # what each entry counts for at least, so that there is one count to keep
        self.size = self.left = size
        self.largest = largest

    def put(self, key: K, value: V, size: int) -> None:
        """Remember a value, unless it is too large.

        :param size: bytes of the entry: :data:`ENTRY`, what key and value take, and all that only they keep alive, also
            what is derived from them later. A key that is put in once more counts again.
        """
        if size > self.largest:
            return
        left = self.left - (size if size > self._least else self._least)
        if left < 0:
            self.clear()
            left = self.size - max(size, self._least)
        self.left = left
        self[key] = value

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self.left = self.size
