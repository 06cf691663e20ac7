"""What readers of tables hand on: some rows, what each could not be, what else is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa

TITLE: Final = "title"
"""The column that becomes a row's title, where it holds text."""

DEFAULT_ID: Final = "id"
"""The column that ids are read from where none is named."""

ROWS_AT_ONCE: Final = 4_096
BYTES_AT_ONCE: Final = 8 << 20
"""What readers hold at a time: the one or the other, whatever is reached first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRow:
    """A row that could not be read, though its neighbours could.

    Attributes:
        row: Its number in the table, from 0.
        reason: Why, in words.
        code: `unreadable_row`, `not_text` or `invalid_id`.
    """

    row: int
    reason: str
    code: str = "unreadable_row"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRows:
    """Some rows of a table, in its order, as they are: nothing is checked yet.

    Attributes:
        batch: All columns of the rows. A row that could not be read has its place there, too, and
            nulls in it.
        first_row: Number of the first one, from 0.
        broken: Those of `batch` that could not be read.
        rest: Each row's further values as the text of one JSON object, where they are no columns
            of `batch` (rows of JSON have no common columns); None where they are.
        passages: Where the rows lie in documents: columns `document_id` (null: the row's id),
            `chunk_index`, `page`, `char_start`, `char_end` (null: by the text's length) and
            `headings` as in a collection; None for rows that are documents of their own.
    """

    batch: pa.RecordBatch
    first_row: int
    broken: tuple[BrokenRow, ...] = ()
    rest: pa.StringArray | None = None
    passages: pa.RecordBatch | None = None


class TextTable(Protocol):
    """Rows that hold texts, the same rows in the same order each time they are read."""

    @property
    def source(self) -> str:
        """As users name it: the file's resolved path, or a short name of what was given."""
        ...

    @property
    def text_column(self) -> str:
        """The column that is embedded."""
        ...

    @property
    def id_column(self) -> str | None:
        """The column whose values become ids; None numbers the rows."""
        ...

    def rows(self) -> Iterator[TextRows]:
        """Read the rows, in memory that does not grow with their number.

        Raises:
            UsageError: The table has no such columns, or cannot be read at all.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which table is read, and what was asked of its columns.

    Attributes:
        source: As users name it.
        id_column: None takes the column `id` if there is one.
    """

    source: str
    text_column: str
    id_column: str | None


def string_array(values: list[str | None]) -> pa.StringArray:
    """Return texts as Arrow strings, lone surrogates in three bytes each, which is no UTF-8.

    Whoever takes such an array has to check it; most have none of them, and cost nothing.
    """
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        encoded = [None if v is None else v.encode("utf-8", "surrogatepass") for v in values]
        return pa.array(encoded, pa.binary()).view(pa.string())


def storable(text: str) -> str:
    """Return a text as valid Unicode: pairs of surrogates are joined, lone ones are U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
