"""Pages that a tool writes its results into, between two marks of its own; everything else in them is people's."""

from pathlib import Path


def replace(path: Path, name: str, text: str) -> None:
    """Put `text` between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.

    :raises SystemExit: the page does not have both.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{path} does not have the marks {begin} and {end}")
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
