"""What a job prints on a cluster, stdout and stderr in one: told apart again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

from lexigram_ray.cli.stray import ESCAPES

_RAY_S_FIRST_LINE = "Running entrypoint for job "


class JobLog:
    """Takes a log in pieces, and says its lines.

    Attributes:
        result: The one object of the job's `--json`, once it was printed.
    """

    def __init__(self, say: Callable[[str], None], *, wants_result: bool) -> None:
        """Begin.

        Args:
            say: Takes a line, as it is but for its colours.
            wants_result: Whether the job prints an object as its result, which is not said.
        """
        self._say = say
        self._wants_result = wants_result
        self._begun = ""
        self.result: dict[str, object] | None = None

    def take(self, text: str) -> None:
        """Take the next piece."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._take_line(ESCAPES.sub("", line).rstrip().expandtabs())

    def end(self) -> None:
        """Take a last line that has no end."""
        if self._begun:
            self.take("\n")

    def _take_line(self, line: str) -> None:
        if not line or line.startswith(_RAY_S_FIRST_LINE):
            return
        if self._wants_result and (found := result_of(line)) is not None:
            self.result = found
        else:
            self._say(line)


def result_of(line: str) -> dict[str, object] | None:
    """Return the object that a line is; None for text, and for a record of `--json-progress`."""
    found = _object_of(line)
    return None if found is None or "message_type" in found else found


def is_record(line: str) -> bool:
    """Whether a line is a record of `--json-progress`."""
    found = _object_of(line)
    return found is not None and "message_type" in found


def _object_of(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        found: object = json.loads(line)
    except ValueError:
        return None
    return cast("dict[str, object]", found) if isinstance(found, dict) else None
