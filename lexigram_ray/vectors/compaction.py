"""Merging the fragments of a table, beside its writers and never against them.

Rows are rewritten without a turn, which may take minutes; only the commit takes one, so that no
writer is between its start and its commit then and none is refused. If a writer has changed one of
the fragments meanwhile, it is the merge that is refused: it is dropped, and its turn comes again
with the next run.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.vectors.compaction_plan import CompactionRules, Fragment, groups_to_merge
from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lance import LanceDataset
    from lance.optimize import CompactionOptions, RewriteResult

    from lexigram_ray.vectors.collection import Collection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What a compaction has done.

    Attributes:
        groups: Of neighbouring fragments that were merged, each in a commit of its own.
        removed, added: Fragments.
        refused: Groups that a writer has changed meanwhile.
    """

    groups: int = 0
    removed: int = 0
    added: int = 0
    refused: int = 0


def planned_groups(collection: Collection, rules: CompactionRules) -> list[list[Fragment]]:
    """Return the fragments that are due to be merged, at the version that `collection` holds."""
    with lance_errors(collection.name, collection.path):
        fragments = [
            Fragment(id=each.id, rows=each.physical_rows, deleted=each.num_deletions)
            for each in (fragment.metadata for fragment in collection.dataset.get_fragments())
        ]
    return groups_to_merge(fragments, rules)


def compact(
    collection: Collection,
    rules: CompactionRules,
    *,
    turn: Callable[[], AbstractContextManager[None]],
    should_stop: Callable[[], bool],
) -> Compacted:
    """Merge what is due, group by group; each is committed before the next is begun.

    Args:
        collection: Is at the newest version afterwards.
        rules: Which fragments are due.
        turn: The turn of the collection's writers, held for each commit.
        should_stop: Asked between groups.

    Raises:
        DiskFullError: No space is left; the groups committed so far stay merged.
        WorkerError: Lance failed.
    """
    done = Compacted()
    collection.refresh()
    for group in planned_groups(collection, rules):
        if should_stop():
            break
        done = _merge(collection, group, rules, turn, done)
    collection.refresh()
    return done


def _merge(
    collection: Collection,
    group: list[Fragment],
    rules: CompactionRules,
    turn: Callable[[], AbstractContextManager[None]],
    done: Compacted,
) -> Compacted:
    from lance.optimize import Compaction

    collection.refresh()
    options = _options_for(collection.dataset, group, rules)
    with lance_errors(collection.name, collection.path):
        tasks = Compaction.plan(collection.dataset, options).tasks
        rewritten = [task.execute(collection.dataset) for task in tasks]
    if not rewritten:
        return done
    try:
        with turn(), lance_errors(collection.name, collection.path):
            collection.dataset.checkout_latest()
            metrics = Compaction.commit(collection.dataset, rewritten, options)
    except WriteConflictError as error:
        logger.info("a merge of %d fragments was put off: %s", len(group), error)
        _discard(collection, rewritten)
        return replace(done, refused=done.refused + 1)
    return replace(
        done,
        groups=done.groups + 1,
        removed=done.removed + metrics.fragments_removed,
        added=done.added + metrics.fragments_added,
    )


def _options_for(
    dataset: LanceDataset, group: list[Fragment], rules: CompactionRules
) -> CompactionOptions:
    wanted = {fragment.id for fragment in group}
    others = [
        each.fragment_id for each in dataset.get_fragments() if each.fragment_id not in wanted
    ]
    return {
        "target_rows_per_fragment": rules.target_rows,
        "materialize_deletions_threshold": rules.deleted_share,
        "excluded_fragment_ids": others,
    }


def _discard(collection: Collection, rewritten: list[RewriteResult]) -> None:
    """Delete the files of a refused merge, unless the table has them after all.

    Lance would keep them for seven days, as it cannot know that their writer has given up.
    """
    made = {
        file.path
        for result in rewritten
        for fragment in result.new_fragments
        for file in fragment.files
    }
    # A commit whose answer was lost may be told as a conflict with itself.
    collection.refresh()
    with lance_errors(collection.name, collection.path):
        used = {
            file.path
            for fragment in collection.dataset.get_fragments()
            for file in fragment.metadata.files
        }
    if made & used:
        logger.warning("a merge of collection %s was committed after all", collection.name)
        return
    for path in made:
        with contextlib.suppress(FileNotFoundError):
            (collection.path / "data" / path).unlink()
