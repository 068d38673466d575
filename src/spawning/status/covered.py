"""``--coverage``: the pages that coverage.py makes of what all workers of a generation have executed.

The workers write what they have noted into files, one each (``forkserver/covered.py``). Who asks for the first page has
them added up and the pages made anew, unless that was done a moment ago; the others are files then. What an earlier
generation has executed goes with it, since its lines may be others by now.
"""

import mimetypes
import shutil
from collections.abc import Collection
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final

INDEX: Final = "index.html"
DATA: Final = "data"
_FRESH: Final = 2.0  # seconds for which pages are good
_OURS: Final = f"{Path(__file__).parents[1]}/*"


class CoverageError(Exception):
    """There are no pages; carries why."""


class Coverage:
    """The files in a directory. Any thread.

    :param directory: may not be there yet.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._lock = Lock()
        self._made: tuple[int, float] = (0, 0.0)  # the generation, and when (monotonic seconds)

    def file(self, name: str, generation: int, there: Collection[int]) -> tuple[str, bytes] | None:
        """Return the type and the content of a page, or of what belongs to it; None: there is none of that name.

        :param name: :data:`DATA` is the file of coverage.py itself, from which other reports can be made.
        :param generation: the number of the one that serves.
        :param there: the numbers of all.
        :raises CoverageError: nothing has been executed yet, or coverage.py refuses.
        """
        made = self._directory / f"coverage-{generation}" / "made"
        if name in (INDEX, DATA) or not made.exists():
            with self._lock:
                if self._made[0] != generation or monotonic() - self._made[1] > _FRESH:
                    self._tidy(there)
                    _make(made)
                    self._made = generation, monotonic()
        if name == DATA:
            return "application/vnd.sqlite3", (made / DATA).read_bytes()
        pages = made / "pages"
        if name not in {each.name for each in pages.iterdir()}:
            return None
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind, (pages / name).read_bytes()

    def _tidy(self, there: Collection[int]) -> None:
        """Remove the files of generations that are gone."""
        for each in self._directory.glob("coverage-*"):
            if each.name.removeprefix("coverage-") not in map(str, there):
                shutil.rmtree(each, ignore_errors=True)


def _make(made: Path) -> None:
    """Make the pages.

    :raises CoverageError: that cannot be done.
    """
    from coverage import Coverage as Report
    from coverage.exceptions import CoverageException

    files = [str(each) for each in made.parent.glob("lines.*")]
    if not files:
        raise CoverageError("no worker has written what it has executed yet: try again in a second")
    made.mkdir(exist_ok=True)
    try:
        report = Report(data_file=str(made / DATA), messages=False)
        report.combine(files, keep=True)
        report.save()
        report.html_report(directory=str(made / "pages"), ignore_errors=True, omit=_omitted(report))
    except CoverageException as error:
        raise CoverageError(f"coverage.py makes no pages: {error}") from None
    except OSError as error:
        raise CoverageError(f"the pages cannot be written: {error.strerror}") from None


def _omitted(report: object) -> list[str]:
    get_option = getattr(report, "get_option")  # noqa: B009 - its types say less than the values are
    return [*(get_option("report:omit") or get_option("run:omit") or ()), _OURS]
