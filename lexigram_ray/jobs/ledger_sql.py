"""Every query on the ledger and on turns, by name."""

from __future__ import annotations

from functools import cache

from sqlalchemy import and_, bindparam, case, exists, func, literal, not_, select
from sqlalchemy.dialects.sqlite import Insert

from lexigram_ray.jobs.database import InsertInto
from lexigram_ray.jobs.records import LedgerState
from lexigram_ray.jobs.schema import documents, jobs, leases, unfinished, units

_KEY = ("collection", "document_id")
_THIS_DOCUMENT = and_(
    documents.c.collection == bindparam("in_collection"),
    documents.c.document_id == bindparam("of_document"),
)
_WRITING = documents.c.state == literal(LedgerState.WRITING.value)

# What this job may write over: anything but the standing intent of another job that can go on.
# That job's rows may yet come into the table, and only its own `done` may say so.
_NOT_ANOTHERS_INTENT = not_(
    and_(
        _WRITING,
        documents.c.job_id != bindparam("by_job"),
        documents.c.job_id.in_(select(jobs.c.id).where(unfinished)),
    )
)

# -- Reading ---------------------------------------------------------------------------------------

LEDGER = select(documents).where(documents.c.collection == bindparam("collection"))

LEDGER_ENTRIES = LEDGER.where(
    documents.c.document_id.in_(bindparam("document_ids", expanding=True))
)

HAS_LEDGER = select(exists().where(documents.c.collection == bindparam("collection")))

LEDGER_COLLECTIONS = select(documents.c.collection).distinct()

# Contents whose chunks are in the table, cut and embedded in this way.
KNOWN_CONTENTS = (
    select(documents.c.content_hash)
    .distinct()
    .where(
        documents.c.collection == bindparam("collection"),
        documents.c.chunker == bindparam("chunker"),
        documents.c.model == bindparam("model"),
        documents.c.state == literal(LedgerState.DONE.value),
    )
)

# Of these documents, those that may have rows in the table: an intent was once recorded.
EVER_INTENDED = select(documents.c.document_id).where(
    documents.c.collection == bindparam("collection"),
    documents.c.document_id.in_(bindparam("document_ids", expanding=True)),
    documents.c.had_intent == literal(1),
)

# Of these documents, those that stand as this job left them.
STANDING_AS_WRITTEN = select(documents.c.document_id).where(
    documents.c.collection == bindparam("collection"),
    documents.c.document_id.in_(bindparam("document_ids", expanding=True)),
    documents.c.job_id == bindparam("by_job"),
    documents.c.state.in_(bindparam("states", expanding=True)),
)

# -- Writing; each runs in a transaction that holds the job's claim -----------------------------


@cache
def record_intent(insert_into: InsertInto) -> Insert:
    """Say that the table is about to change; the last intent of a document is the one that counts.

    `had_intent` comes as 1 and stays.
    """
    statement = insert_into(documents)
    return statement.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={column.name: column for column in statement.excluded if column.name not in _KEY},
    )


@cache
def mark_outcome(insert_into: InsertInto) -> Insert:
    """Say that a document was skipped or has failed; an intent once recorded is never forgotten."""
    statement = insert_into(documents)
    new = statement.excluded
    set_of_old = {"had_intent": case((new.had_intent == 1, 1), else_=documents.c.had_intent)}
    set_of_new = {column.name: column for column in new if column.name not in _KEY}
    return statement.on_conflict_do_update(
        index_elements=list(_KEY), set_=set_of_new | set_of_old, where=_NOT_ANOTHERS_INTENT
    )


# The write has been verified: only the job whose intent stands may say so.
MARK_DONE = (
    documents.update()
    .where(_THIS_DOCUMENT, _WRITING, documents.c.job_id == bindparam("by_job"))
    .values(
        {
            column.name: bindparam(f"new_{column.name}")
            for column in documents.columns
            if column.name not in {*_KEY, "job_id", "had_intent"}
        }
    )
)

# The document's rows are gone from the table, says the job whose intent stands: what another job
# has written since is there. Its stamp goes too: a file that comes back is new.
MARK_REMOVED = (
    documents.update()
    .where(_THIS_DOCUMENT, _WRITING, documents.c.job_id == bindparam("by_job"))
    .values(
        state=LedgerState.REMOVED.value,
        size=None,
        mtime_ns=None,
        ctime_ns=None,
        inode=None,
        chunks=0,
        chunks_digest="",
        job_id=bindparam("by_job"),
        category=None,
        code="",
        reason="",
        updated_at=bindparam("now"),
    )
)

# The same content under a new stamp. A look older than the one on record changes nothing.
TOUCH = (
    documents.update()
    .where(
        _THIS_DOCUMENT, not_(_WRITING), documents.c.checked_at_ns <= bindparam("new_checked_at_ns")
    )
    .values(
        size=bindparam("new_size"),
        mtime_ns=bindparam("new_mtime_ns"),
        ctime_ns=bindparam("new_ctime_ns"),
        inode=bindparam("new_inode"),
        checked_at_ns=bindparam("new_checked_at_ns"),
        updated_at=bindparam("now"),
    )
)

# The collection was dropped: nothing of it is known any more.
# What unfinished jobs have put into a collection that is gone, they must put there again.
FORGET_UNITS = units.delete().where(
    units.c.job_id.in_(
        select(jobs.c.id).where(jobs.c.collection == bindparam("in_collection"), unfinished)
    )
)

FORGET_COLLECTION = documents.delete().where(documents.c.collection == bindparam("in_collection"))

# -- Turns -----------------------------------------------------------------------------------------

# Everyone who holds or awaits a turn, in the order in which they came.
TICKETS = (
    select(leases)
    .where(leases.c.name == bindparam("of_turn"))
    .order_by(leases.c.position, leases.c.token)
)

# Stand at the end of the queue.
LAST_POSITION = select(func.max(leases.c.position)).where(leases.c.name == bindparam("of_turn"))
ADD_TICKET = leases.insert()

_THIS_TICKET = and_(leases.c.name == bindparam("of_turn"), leases.c.token == bindparam("of_ticket"))

# Take the turn, or go on waiting for it.
KEEP_TICKET = (
    leases.update()
    .where(_THIS_TICKET)
    .values(held=bindparam("now_held"), lease_until=bindparam("new_lease"))
)

DELETE_TICKET = leases.delete().where(_THIS_TICKET)
