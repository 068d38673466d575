"""Which requests share a judgement."""

import pytest

from spawning.http.line import RequestLine
from spawning.worker.routes import MOST, Routes


def line(method: str, path: str) -> RequestLine:
    return RequestLine(method, path, path, "", "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("GET /", "GET /", True),
        ("GET /books/17/", "GET /books/18/", True),
        ("GET /books/17/reviews", "GET /books/18/pages", True),
        ("GET /books/", "GET /books/17/", False),
        ("GET /books", "GET /authors", False),
        ("GET /books", "POST /books", False),
        ("OPTIONS *", "GET /", False),
    ],
)
def test_method_first_segment_and_depth_make_a_route(one: str, other: str, same: bool) -> None:
    routes = Routes(enabled=True)
    first, second = (routes.sensor(line(*each.split(" "))) for each in (one, other))
    assert (first is second) is same


def test_a_line_keeps_its_sensor() -> None:
    asked = line("GET", "/books")
    assert asked.memo is None
    assert Routes(enabled=True).sensor(asked) is asked.memo


def test_the_table_is_bounded() -> None:
    routes = Routes(enabled=True)
    sensors = [routes.sensor(line("GET", f"/{number}")) for number in range(MOST + 10)]
    assert len({id(sensor) for sensor in sensors}) == MOST + 1
    assert routes.sensor(line("GET", "/0")) is sensors[0]


@pytest.mark.parametrize(("method", "path"), [("GET", "/" + 200 * "a"), (200 * "A", "/")])
def test_a_long_name_is_not_kept(method: str, path: str) -> None:
    routes = Routes(enabled=True)
    assert routes.sensor(line(method, path)) is routes.sensor(line(method, path + "/b"))
    assert routes.sensor(line("GET", "/books")) is not routes.sensor(line(method, path))


def test_with_one_thread_there_is_one_judgement() -> None:
    routes = Routes(enabled=False)
    sensor = routes.sensor(line("GET", "/books"))
    assert sensor is routes.sensor(line("GET", "/authors"))
    assert sensor.due == float("inf")
