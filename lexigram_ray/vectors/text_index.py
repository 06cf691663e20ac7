"""Full text: the indexes of a collection over text, title and headings, and the query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lance import LanceDataset
    from lance.query import FullTextQuery

    from lexigram_ray.vectors.collection import Collection

TEXT_COLUMNS: Final = ("text", "title", "headings")
MAX_SEGMENTS: Final = 8

# By 50 questions over Debian's Python and policy documentation: hybrid search puts the right page
# first for 38 of them, and for 34 with the text alone.
_BOOSTS: Final = (1.0, 0.2, 0.3)


def create_text_indexes(dataset: LanceDataset) -> None:
    """Create whichever index is missing; it may be on an empty table.

    Rows that an index does not cover yet are searched one by one, in the index's own language:
    with an index from the start, every row is found from the moment it is written.
    """
    present = _indexed_columns(dataset)
    for column in TEXT_COLUMNS:
        if column not in present:
            dataset.create_scalar_index(
                column,
                "INVERTED",
                name=f"{column}_idx",
                replace=False,
                base_tokenizer="simple",
                language="English",
                lower_case=True,
                stem=True,
                remove_stop_words=True,
                ascii_folding=True,
                with_position=False,
            )


def ensure_text_index(collection: Collection) -> None:
    """Let the full-text indexes cover every row that is there now, and move to that version.

    What is found does not depend on it, how fast does: rows without an index cost some 0.1 ms
    each and search. Cheap when every row is covered.

    Raises:
        WriteConflictError: Another commit came first; calling again later is enough.
    """
    with lance_errors(collection.name, collection.path):
        dataset = collection.dataset
        dataset.checkout_latest()
        create_text_indexes(dataset)
        rows = dataset.count_rows()
        stale = [
            index
            for index in dataset.describe_indices()
            if index.field_names[0] in TEXT_COLUMNS and index.num_rows_indexed < rows
        ]
        if stale:
            dataset.optimize.optimize_indices(
                index_names=[index.name for index in stale],
                num_indices_to_merge=max(
                    segments_to_merge(
                        segments=len(index.segments),
                        indexed=index.num_rows_indexed,
                        uncovered=rows - index.num_rows_indexed,
                    )
                    for index in stale
                ),
            )


def segments_to_merge(*, segments: int, indexed: int, uncovered: int) -> int:
    """Return how many segments of an index to rewrite together with its new rows.

    Few new rows become a segment of their own: one document must not cost the rewriting of an
    index over a million. Each segment makes every search a little slower, so they are few.
    """
    if segments >= MAX_SEGMENTS or uncovered * 10 >= indexed:
        return segments
    return 0


def text_query(dataset: LanceDataset, words: str) -> FullTextQuery:
    """Return the query for a user's words, which are only ever words.

    A passage's score is the BM25 of its text, and a part of those of its title and headings, which
    say what a passage is about that does not say so itself.
    """
    from lance.query import BooleanQuery, MatchQuery, Occur

    # A command line may hold bytes that are no Unicode; Lance takes only Unicode.
    words = words.encode("utf-8", "replace").decode("utf-8")
    if not _indexed_columns(dataset):
        # Somebody has dropped the indexes. Lance then compares words letter by letter.
        words = _in_usual_cases(words)
    return BooleanQuery(
        [
            (Occur.SHOULD, MatchQuery(words, column, boost=boost))
            for column, boost in zip(TEXT_COLUMNS, _BOOSTS, strict=True)
        ]
    )


def _in_usual_cases(words: str) -> str:
    each = words.split()
    variants = (*each, *map(str.lower, each), *map(str.capitalize, each))
    return " ".join(dict.fromkeys(variants))


def _indexed_columns(dataset: LanceDataset) -> set[str]:
    return {
        index["fields"][0]
        for index in dataset.list_indices()
        if index["type"] == "Inverted" and index["fields"][0] in TEXT_COLUMNS
    }
