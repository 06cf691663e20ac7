"""Tables of texts: where the rows of an embedding job come from."""

from __future__ import annotations

from pathlib import Path

from lexigram_ray.ingestion.table_files import open_path
from lexigram_ray.ingestion.table_memory import table_in_memory
from lexigram_ray.ingestion.table_rows import BrokenRow, TextRows, TextTable

__all__ = ["BrokenRow", "TextRows", "TextTable", "open_table", "table_of"]


def open_table(
    path: str | Path,
    *,
    text_column: str = "text",
    id_column: str | None = None,
    allowed_roots: tuple[Path, ...] | None = None,
) -> TextTable:
    """Open a file of rows, or a folder of such files, which are read by their names' order.

    Parquet, JSON Lines, JSON (an array of objects), CSV and TSV, Arrow and Feather files, and Lance
    tables; the texts among them also packed by gzip or zstd. A row that cannot be read is handed on
    as a broken one, and its neighbours as they are. Values of CSV are texts: `007` stays `007`.

    Args:
        path: The file or folder.
        text_column: The column that is embedded.
        id_column: The column whose values become ids; None takes `id` if there is such a column,
            and else numbers the rows.
        allowed_roots: Resolved folders outside of which nothing is read; None allows all.

    Raises:
        PathNotAllowedError: It, or a file in it, lies outside `allowed_roots`.
        UsageError: There is no such path, it holds no table, or the table has no such columns.
    """
    return open_path(Path(path), text_column, id_column, allowed_roots)


def table_of(
    data: object,
    *,
    text_column: str = "text",
    id_column: str | None = None,
    source: str | None = None,
) -> TextTable:
    """Make a table of what a program has at hand.

    Args:
        data: A path; a list of texts, of dictionaries, or of objects with `text` or `content` and,
            if they have them, `id`, `document_id`, `chunk_index` or `index`, `page`, `char_start`,
            `char_end`, `headings`, `title` and `metadata`; a pandas or polars frame; an Arrow table
            or whatever exports an Arrow stream. A stream that can be read only once is kept in a
            temporary file for as long as the table is.
        text_column: The column, key or attribute that is embedded.
        id_column: As for `open_table`. Of objects without ids that have a `document_id`, the id is
            `document_id:chunk_index`.
        source: What users call it. Without it, rows that are numbered get ids that hang on all
            texts together, so that other texts never take the place of these.

    Raises:
        UsageError: It is nothing of these, or has no such columns.
        DiskFullError: There is no space for the temporary file.
    """
    if isinstance(data, (str, Path)):
        return open_path(Path(data), text_column, id_column)
    return table_in_memory(data, text_column, id_column, source)
