"""Cursors of pages that go from the newest row to the oldest: where one of them has ended."""

from __future__ import annotations

import re

from lexigram_ray.core.errors import UsageError

# A time in microseconds, that no database's integers are too small for, and a row's id.
_CURSOR = re.compile(r"([0-9]{1,18})\.([\w-]+)", re.ASCII)


def cursor_at(micros: int, row_id: str) -> str:
    """Return the cursor of the page behind a row."""
    return f"{micros}.{row_id}"


def place_of(cursor: str, of: str) -> tuple[int, str]:
    """Return the time, in microseconds, and the id of the row that a page begins behind.

    Args:
        of: What the pages are of, such as `a list of jobs`.

    Raises:
        UsageError: The cursor is not one of ours.
    """
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise UsageError(f"{cursor!r} is no cursor of {of}", hint="pass `next` of the page before")
    return int(found[1]), found[2]
