"""What a person is told of documents whose rows are wrong, and what heals them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lexigram_ray.core.ids import source_path
from lexigram_ray.jobs.records import LedgerEntry
from lexigram_ray.maintenance.duty import Fault
from lexigram_ray.maintenance.orphans import REMOVAL
from lexigram_ray.vectors.collection import ROWS_CHUNKER

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection


def faults_of(
    collection: Collection,
    wrong: Mapping[str, str],
    entries: Mapping[str, LedgerEntry],
    *,
    named: int,
    are_marked: bool,
) -> list[Fault]:
    """Return a fault for each document, and one for those that are not named.

    Args:
        wrong: What is wrong, by document id, or by row id where rows stand for themselves.
        entries: What the ledger says of these documents.
        named: The most that are named one by one.
        are_marked: Whether the ledger has been told, so that an ingestion heals them.
    """
    shown = list(wrong)[:named]
    if collection.settings.chunker == ROWS_CHUNKER:
        faults = [_of_row(collection.name, each, wrong[each]) for each in shown]
    else:
        sources = _sources(collection, shown, entries)
        faults = [
            Fault(
                name=f"collection {collection.name}: {(source := sources.get(each, each))}",
                detail=wrong[each],
                fix=_healing(
                    collection.name, source, is_known=each in entries, is_marked=are_marked
                ),
            )
            for each in shown
        ]
    if len(wrong) > len(shown):
        more = f"{len(wrong) - len(shown):,} more are wrong"
        fix = f"--option named={len(wrong)} names all"
        faults.append(Fault(name=f"collection {collection.name}", detail=more, fix=fix))
    return faults


def _of_row(name: str, row_id: str, what: str) -> Fault:
    return Fault(
        name=f"collection {name}: id {row_id}",
        detail=what,
        fix=f"embed its table again (`lexigram-ray embed TABLE --collection {name}`); where it is "
        f"the vector that is wrong, drop {name} before",
    )


def _healing(name: str, source: str, *, is_known: bool, is_marked: bool) -> str:
    # What the ledger has for done is not ingested again.
    first = "" if is_marked or not is_known else "lexigram-ray maintenance run integrity_check && "
    if os.path.lexists(source_path(source)):
        return f"{first}lexigram-ray ingest {shlex.quote(source)} --collection {name}"
    if not is_known:
        return REMOVAL
    folder = os.path.dirname(source) or "FOLDER"
    return f"{first}lexigram-ray ingest {shlex.quote(folder)} --collection {name} --prune"


def _sources(
    collection: Collection, document_ids: list[str], entries: Mapping[str, LedgerEntry]
) -> dict[str, str]:
    from lexigram_ray.vectors.audit import sources_of

    known = {each: entries[each].source for each in document_ids if each in entries}
    unknown = [each for each in document_ids if each not in known]
    return known | (sources_of(collection, unknown) if unknown else {})
