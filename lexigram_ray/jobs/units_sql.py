"""Every query on the units of jobs, by name; writes run in a transaction that holds the claim."""

from __future__ import annotations

from functools import cache

from sqlalchemy import and_, bindparam, case, func, literal, select
from sqlalchemy.dialects.sqlite import Insert

from lexigram_ray.jobs.database import InsertInto
from lexigram_ray.jobs.records import REMOVED_CODE, UnitState
from lexigram_ray.jobs.schema import units

UNITS_OF_JOB = select(units).where(units.c.job_id == bindparam("job_id")).order_by(units.c.unit_id)

DONE_UNITS = select(units.c.unit_id).where(
    units.c.job_id == bindparam("job_id"), units.c.state == literal(UnitState.DONE.value)
)

FAILED_UNITS = (
    select(units)
    .where(units.c.job_id == bindparam("job_id"), units.c.state == literal(UnitState.FAILED.value))
    .order_by(units.c.unit_id)
    .limit(bindparam("at_most"))
)

FAILED_IDS = select(units.c.unit_id).where(
    units.c.job_id == bindparam("job_id"),
    units.c.state == literal(UnitState.FAILED.value),
    units.c.unit_id.startswith(bindparam("prefix"), autoescape=False),
)

CRASHES_OF_UNITS = select(units.c.unit_id, units.c.crashes).where(
    units.c.job_id == bindparam("job_id"),
    units.c.unit_id.in_(bindparam("unit_ids", expanding=True)),
)


@cache
def add_unit(insert_into: InsertInto) -> Insert:
    """Add a unit to be worked on; one that is already there stays as it is."""
    return insert_into(units).on_conflict_do_nothing()


@cache
def count_crash(insert_into: InsertInto) -> Insert:
    """Count a worker's death against a unit, adding the unit where it is missing."""
    statement = insert_into(units)
    return statement.on_conflict_do_update(
        index_elements=[units.c.job_id, units.c.unit_id],
        set_={"crashes": units.c.crashes + 1, "updated_at": statement.excluded.updated_at},
    )


# What the finished units of a job add up to. A pruned document is a unit of code `removed`.
UNIT_TOTALS = select(
    func.coalesce(func.sum(units.c.chunks), 0).label("chunks"),
    func.coalesce(func.sum(units.c.computed), 0).label("computed"),
    func.coalesce(func.sum(units.c.cached), 0).label("cached"),
    func.coalesce(func.sum(units.c.replaced), 0).label("replaced"),
    func.coalesce(
        func.sum(
            case((and_(units.c.code == literal(REMOVED_CODE), units.c.replaced > 0), 1), else_=0)
        ),
        0,
    ).label("removed"),
    func.coalesce(
        func.sum(case((units.c.state == literal(UnitState.FAILED.value), 1), else_=0)), 0
    ).label("failed"),
).where(units.c.job_id == bindparam("job_id"), units.c.state != literal(UnitState.PENDING.value))


@cache
def note_replaced(insert_into: InsertInto) -> Insert:
    """Note what the table holds of a document before a job's first write to it, and only then."""
    statement = insert_into(units)
    return statement.on_conflict_do_update(
        index_elements=[units.c.job_id, units.c.unit_id],
        set_={"replaced": func.coalesce(units.c.replaced, statement.excluded.replaced)},
    )


@cache
def finish_unit(insert_into: InsertInto) -> Insert:
    """Set how a unit ended, whether or not it was added first; what was counted stays."""
    statement = insert_into(units)
    kept = {"job_id", "unit_id", "crashes", "replaced"}
    return statement.on_conflict_do_update(
        index_elements=[units.c.job_id, units.c.unit_id],
        set_={column.name: column for column in statement.excluded if column.name not in kept},
    )


NEW_UNIT: dict[str, object] = {
    "state": UnitState.PENDING.value,
    "crashes": 0,
    "content_hash": "",
    "chunks": 0,
    "computed": 0,
    "cached": 0,
    "category": None,
    "code": "",
    "reason": "",
    "seconds": 0.0,
    "replaced": None,
}
