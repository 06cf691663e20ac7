"""How a collection's vector index is to be used: found by measuring, kept with the table.

It stands in the table's own configuration, so that a search finds it without the job store, and
moves with the table when that is copied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final, cast

from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lance import LanceDataset

    from lexigram_ray.vectors.collection import Collection

TUNING_KEY: Final = "lexigram_ray.vector_search"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much of an index a search looks at.

    Attributes:
        nprobes: Partitions.
        refine_factor: So many times the wanted rows are compared by their own vectors; 0 for none.
        ef: Candidates within a graph; None for indexes without one.
    """

    nprobes: int
    refine_factor: int = 0
    ef: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTuning:
    """What is known of a vector index.

    Attributes:
        usable: Whether its recall reaches the target; searches are exact where not.
        effort: The least that reaches it.
        depth: Nearest rows for which that was measured.
        recall_at_10: What it reached, on rows of the collection.
        partitions: Of the index.
        trained_rows: Rows of the table when the index was trained.
        is_measured: Whether all that was found by measuring the index that is there; else it was
            of an older one, and is used only until this one is measured.
    """

    usable: bool
    effort: Effort
    depth: int
    recall_at_10: float
    partitions: int
    trained_rows: int
    is_measured: bool = True

    def to_json(self) -> str:
        """Return it as the table keeps it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SearchTuning:
        """Read what `to_json` has written.

        Raises:
            ValueError: It is something else.
        """
        content: object = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"not an object: {text[:80]!r}")  # noqa: TRY004 - of a text
        given = cast("dict[str, object]", content)
        try:
            # Versions before this one kept only what they had measured.
            given.setdefault("is_measured", True)
            values = {each.name: given[each.name] for each in fields(cls)}
            effort = Effort(**cast("dict[str, int]", values["effort"]))
            return cls(**(values | {"effort": effort}))  # pyright: ignore[reportArgumentType]
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a tuning: {error}") from error


def read_tuning(dataset: LanceDataset) -> SearchTuning | None:
    """Return what is kept with a table; None where nothing is, or nothing that can be read."""
    text = dataset.config().get(TUNING_KEY)
    if text is None:
        return None
    try:
        return SearchTuning.from_json(text)
    except ValueError:
        # Of another version of this package, or somebody's own: searches are exact until the next
        # measurement.
        return None


def keep_tuning(collection: Collection, tuning: SearchTuning | None) -> None:
    """Keep a tuning with the table, in a commit of its own; None removes it.

    It conflicts with no writer.
    """
    with lance_errors(collection.name, collection.path):
        collection.dataset.checkout_latest()
        if tuning is None:
            collection.dataset.delete_config_keys([TUNING_KEY])
        else:
            collection.dataset.update_config({TUNING_KEY: tuning.to_json()})


def least_effort(
    candidates: Sequence[Effort],
    recall_of: Callable[[Effort], float],
    aim: float,
) -> tuple[Effort, float]:
    """Return the first effort whose recall reaches `aim`, else the best that was seen.

    Args:
        candidates: From little to much; at least one.
        recall_of: Measures one.
        aim: A recall, in [0, 1].
    """
    seen: list[tuple[Effort, float]] = []
    for effort in candidates:
        seen.append((effort, recall_of(effort)))
        if seen[-1][1] >= aim:
            return seen[-1]
    return max(seen, key=lambda each: each[1])
