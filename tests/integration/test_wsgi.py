"""WSGI's finer points through the real command."""

from integration.client import fetch
from integration.server import Server

QUIET = ("-s", "1", "-t", "4", "-l", "/dev/null")

# wsgi.errors ---------------------------------------------------------------------------------------------------------


def test_wsgi_errors_goes_to_the_log_by_lines() -> None:
    with Server("pep3333.application", *QUIET) as server:
        fetch(server.port, "/errors?flush")
        server.wait_for_log(r"^\d{4}-.* \[\d+\] ERROR unended line$")
        assert [line.partition("] ")[2] for line in server.err.since() if " ERROR " in line] == [
            "ERROR first line",
            "ERROR second line",
            "ERROR unended line",
        ]


def test_a_line_that_never_ends_is_written_when_the_worker_ends() -> None:
    with Server("pep3333.application", *QUIET) as server:
        fetch(server.port, "/errors")
        server.stop()
        assert "ERROR unended line" in server.log()
