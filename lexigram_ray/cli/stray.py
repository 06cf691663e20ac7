"""What libraries and child processes print must neither reach stdout nor break lines of JSON."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class SaidLines(io.TextIOBase):
    """A text stream that hands each line to `say`, without its colours."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = ""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str, /) -> int:
        """Take text, and say the lines that are complete."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if shown := _ESCAPES.sub("", line).strip():
                self._say(shown)
        return len(text)


@contextmanager
def stdout_is_for_results(say: Callable[[str], None]) -> Generator[None]:
    """Meanwhile, say what Python code prints, and lead what child processes print to stderr."""
    sys.stdout.flush()
    stdout, kept = sys.stdout, os.dup(1)
    os.dup2(2, 1)
    sys.stdout = SaidLines(say)
    try:
        yield
    finally:
        sys.stdout = stdout
        os.dup2(kept, 1)
        os.close(kept)
