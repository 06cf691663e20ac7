"""Which fragments of a table to merge: a decision from their sizes alone. Pure.

Every commit of a writer leaves a fragment, and each costs every search and every commit a little.
Merging rewrites rows, so a fragment is only ever merged with others that together are as large: a
row is then rewritten as often as its fragment doubles, not as often as somebody adds a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A fragment's sizes.

    Attributes:
        rows: As written, those that were removed since among them.
        deleted: Rows that were removed since.
    """

    id: int
    rows: int
    deleted: int = 0

    @property
    def live(self) -> int:
        """Rows that are still there."""
        return self.rows - self.deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionRules:
    """When merging is worth its writes.

    Attributes:
        target_rows: A merged fragment has at most so many; larger ones are left alone.
        fewest: Fragments that are merged at once.
        deleted_share: A fragment with more removed rows than this is rewritten by itself.
    """

    target_rows: int = 262_144
    fewest: int = 4
    deleted_share: float = 0.1


def groups_to_merge(fragments: Sequence[Fragment], rules: CompactionRules) -> list[list[Fragment]]:
    """Return groups of neighbouring fragments, each of which is to become one.

    Args:
        fragments: In the table's order, which merging keeps.
        rules: From the configuration.
    """
    return [
        group
        for run in _runs_within(fragments, rules)
        for group in _without_the_large(run, rules)
        if _is_worth_it(group, rules)
    ]


def _runs_within(fragments: Sequence[Fragment], rules: CompactionRules) -> list[list[Fragment]]:
    """Cut the table into runs of neighbours that fit into one fragment."""
    runs: list[list[Fragment]] = [[]]
    live = 0
    for fragment in fragments:
        if runs[-1] and live + fragment.live > rules.target_rows:
            runs.append([])
            live = 0
        runs[-1].append(fragment)
        live += fragment.live
    return [run for run in runs if run]


def _without_the_large(run: list[Fragment], rules: CompactionRules) -> Iterator[list[Fragment]]:
    """Divide a run at whatever is larger than all that it would be merged with."""
    if not run:
        return
    place = max(range(len(run)), key=lambda each: run[each].live)
    largest = run[place]
    is_small = largest.live * 2 <= sum(fragment.live for fragment in run)
    if is_small or _is_hollow(largest, rules):
        yield run
        return
    yield from _without_the_large(run[:place], rules)
    yield from _without_the_large(run[place + 1 :], rules)


def _is_worth_it(group: list[Fragment], rules: CompactionRules) -> bool:
    return len(group) >= rules.fewest or any(_is_hollow(fragment, rules) for fragment in group)


def _is_hollow(fragment: Fragment, rules: CompactionRules) -> bool:
    return fragment.deleted > rules.deleted_share * fragment.rows
