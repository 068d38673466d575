"""The routes of an application, and a judgement for each: does it wait, or does it compute?

Nobody tells the server which routes there are, so they are guessed from what is asked for: the method, the first
segment of the path and its depth (``GET /books/17/reviews`` is ``GET /books/*/*``). That tells a list from an item, and
what calls another service from what does not; names and numbers further down make no routes of their own. A wrong
guess costs little: routes that behave alike are judged alike, and one that is two things at once is judged as an
application would be that is both.

The table is bounded: once it is full, all further routes share one judgement, and so do those with a name that is too
long to be kept. The thread that reads a request asks for its sensor; when two threads meet a new route at once, one of
the two sensors is forgotten.
"""

from typing import Final

from spawning.http.line import RequestLine
from spawning.worker.sensor import Sensor

MOST: Final = 256  # routes with a judgement of their own
_DEEPEST: Final = 8  # depth above which it does not count
_LONGEST: Final = 128  # characters of method and first segment


class Routes:
    """The sensors of an application's routes.

    :param enabled: False where there is only one request thread: handing over would gain nothing.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._sensors: dict[tuple[str, str, int], Sensor] = {}
        self._rest = Sensor(enabled=enabled)

    def sensor(self, line: RequestLine) -> Sensor:
        """Return the sensor of a request line's route; it is kept with the line."""
        key = _key(line)
        sensor = self._sensors.get(key)
        if sensor is None:
            if self._enabled and len(self._sensors) < MOST and len(key[0]) + len(key[1]) <= _LONGEST:
                sensor = self._sensors[key] = Sensor(enabled=True, route=_name(*key))
            else:
                sensor = self._rest
        line.memo = sensor
        return sensor


def _key(line: RequestLine) -> tuple[str, str, int]:
    path = line.path
    end = path.find("/", 1)
    return line.method, path if end < 0 else path[:end], min(path.count("/"), _DEEPEST)


def _name(method: str, first: str, depth: int) -> str:
    return f"{method} {first}{'/*' * (depth - 1)}"
