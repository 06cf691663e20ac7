"""Full text: the indexes of a collection over text, title and headings, and the query."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lance import LanceDataset
    from lance.dataset import Index
    from lance.lance.indices import IndexDescription, IndexSegment
    from lance.query import FullTextQuery

    from lexigram_ray.vectors.collection import Collection

TEXT_COLUMNS: Final = ("text", "title", "headings")
MAX_SEGMENTS: Final = 8

# Lance builds an index in one thread (19 s for a million rows of 380 characters on 2 cores; two
# segments side by side take 11). Each segment makes a search a little slower, so they are few.
SIDE_BY_SIDE_ROWS: Final = 50_000
MOST_SIDE_BY_SIDE: Final = 4

_WORDS: Final[dict[str, Any]] = {
    "base_tokenizer": "simple",
    "language": "English",
    "lower_case": True,
    "stem": True,
    "remove_stop_words": True,
    "ascii_folding": True,
    "with_position": False,
}

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
                **_WORDS,
            )


def ensure_text_index(collection: Collection, *, cores: int = 1) -> None:
    """Let the full-text indexes cover every row that is there now, and move to that version.

    What is found does not depend on it, how fast does: rows without an index cost some 0.1 ms
    each and search. Cheap when every row is covered.

    Args:
        cores: That may be used; with several, large indexes are built a segment a core.

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
        anew = [index for index in stale if cores > 1 and _is_built_anew(index, rows)]
        if anew:
            columns = {each.name: each.field_names[0] for each in anew}
            _build_side_by_side(collection, columns, min(cores, MOST_SIDE_BY_SIDE))
            dataset.checkout_latest()
        others = [index for index in stale if index not in anew]
        if others:
            dataset.optimize.optimize_indices(
                index_names=[index.name for index in others],
                num_indices_to_merge=max(_merged(index, rows) for index in others),
            )


def _merged(index: IndexDescription, rows: int) -> int:
    return segments_to_merge(
        segments=len(index.segments),
        indexed=index.num_rows_indexed,
        uncovered=rows - index.num_rows_indexed,
    )


def _is_built_anew(index: IndexDescription, rows: int) -> bool:
    return rows >= SIDE_BY_SIDE_ROWS and _merged(index, rows) == len(index.segments)


def _build_side_by_side(collection: Collection, columns: Mapping[str, str], cores: int) -> None:
    """Build indexes, given as names with their columns, anew over every row: a segment a core."""
    import lance

    dataset = collection.dataset
    version = dataset.version
    groups = _even_groups(
        {fragment.fragment_id: fragment.count_rows() for fragment in dataset.get_fragments()},
        cores,
    )

    def build(name: str, column: str, fragments: list[int]) -> Index | IndexSegment:
        # A handle of its own: two threads cannot prepare an index on one.
        own = lance.dataset(str(collection.path), version=version)
        return own.create_index_uncommitted(
            column, "INVERTED", name=name, replace=True, fragment_ids=fragments, **_WORDS
        )

    with ThreadPoolExecutor(cores) as threads:
        building = {
            name: [threads.submit(build, name, column, group) for group in groups]
            for name, column in columns.items()
        }
        for name, segments in building.items():
            dataset.commit_existing_index_segments(
                name, columns[name], [segment.result() for segment in segments]
            )


def _even_groups(rows: Mapping[int, int], most: int) -> list[list[int]]:
    """Divide fragments, whose rows are given, into at most so many groups of like size."""
    groups: list[list[int]] = [[] for _ in range(min(most, len(rows)))]
    sizes = [0] * len(groups)
    for fragment in sorted(rows, key=rows.__getitem__, reverse=True):
        smallest = sizes.index(min(sizes))
        groups[smallest].append(fragment)
        sizes[smallest] += rows[fragment]
    return groups


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
