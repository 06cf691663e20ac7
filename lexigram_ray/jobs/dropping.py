"""Dropping a collection: its rows, and what the ledger knows of its documents."""

from __future__ import annotations

import logging
from functools import partial

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import IntegrityError
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.requests import INGEST, ingest_request_of
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.unfinished import unfinished_jobs
from lexigram_ray.jobs.uploaded_files import remove_uploads
from lexigram_ray.vectors.collections import Collections

TURN_SECONDS = 60.0

logger = logging.getLogger("lexigram_ray")


def drop_collection(config: WorkersConfig, store: Store, name: str) -> None:
    """Drop a collection, in its writers' turn, and forget which documents are in it.

    Files that were uploaded for it go too, but for those that jobs have still to do.

    Raises:
        CollectionNotFoundError: There is none of this name.
    """
    with store.turn(name, Owner.current(), TURN_SECONDS):
        Collections(config.paths.lancedb).drop(name)
        store.forget_collection(name)
    try:
        remove_uploads(config, name, needed=partial(_still_to_do, config, store, name))
    except OSError as error:
        # It is gone all the same; they only take space.
        logger.warning("files uploaded for collection %s are left behind: %s", name, error)


def _still_to_do(config: WorkersConfig, store: Store, name: str) -> set[str]:
    """Return the uploaded files that the unfinished jobs of a collection name."""
    uploads = config.paths.uploads / name
    named: set[str] = set()
    for job in unfinished_jobs(store, kind=INGEST, collection=name):
        request = ingest_request_of(job)
        paths = request.paths if request is not None else ()
        named |= {str(path) for path in paths if path.is_relative_to(uploads)}
    return named


def rows_of(collections: Collections, name: str) -> int:
    """Return the rows of a collection; 0 where they cannot be counted.

    A damaged collection is what one most wants to drop.

    Raises:
        CollectionNotFoundError: There is none of this name.
    """
    try:
        return collections.info(name).rows
    except IntegrityError:
        return 0


def dropped_object(name: str, rows: int) -> dict[str, object]:
    """Return the object of `collections drop --json`."""
    return {"dropped": name, "rows": rows}
