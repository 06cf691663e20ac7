"""Texts from stdin: kept in a file for the time of the run, because a job reads them as a table."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lexigram_ray.cli.output import is_terminal, say
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import hash_file
from lexigram_ray.ingestion.scratch import ScratchFolder, sweep
from lexigram_ray.ingestion.tables import TextRows, TextTable, open_table

NAME = "stdin"
COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StdinTable:
    """The rows of a spooled file under a name that is not that file's."""

    table: TextTable
    source: str

    @property
    def text_column(self) -> str:
        """The column that is embedded."""
        return self.table.text_column

    @property
    def id_column(self) -> str | None:
        """The column whose values become ids; None numbers the rows."""
        return self.table.id_column

    def rows(self) -> Iterator[TextRows]:
        """Read the rows of the file."""
        return self.table.rows()


@contextmanager
def spooled(scratch: Path, *, text_column: str, id_column: str | None) -> Generator[TextTable]:
    """Read stdin to its end, and give its JSON Lines as a table; its file goes with the context.

    Raises:
        UsageError: It has no such columns.
        OSError: No space is left for it.
    """
    if is_terminal(sys.stdin):
        say("reading JSON Lines from the terminal; Ctrl-D ends them", label="note")
    parent = scratch / "stdin"
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    folder = ScratchFolder(parent)
    try:
        file = folder.path / "stdin.jsonl"
        with file.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy, COPY_BYTES)
        yield _named(file, text_column, id_column)
    finally:
        folder.remove()


def _named(file: Path, text_column: str, id_column: str | None) -> TextTable:
    try:
        table = open_table(file, text_column=text_column, id_column=id_column)
    except UsageError as error:
        message = error.message.replace(str(file.resolve()), NAME)
        raise UsageError(message, hint=error.hint) from error
    if table.id_column is not None:
        return StdinTable(table=table, source=NAME)
    # Numbered rows get ids made of the name: other rows must not take the place of these, and
    # the same rows must be found again.
    return StdinTable(table=table, source=f"{NAME}:{hash_file(file)[:16]}")
