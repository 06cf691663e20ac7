"""The units of a job: what there is to do, what became of it, and whose death it caused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs import fence, job_events, units_sql
from lexigram_ray.jobs.database import Database, storable
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.records import Claim, UnitResult, UnitRow, UnitState, UnitTotals

# Codes of units whose workers died or had to be ended, again and again.
_OF_DEATHS = frozenset({"quarantined", "worker_died", "timed_out"})


class Units:
    """Reads and writes the units of jobs. `Store` documents the promises."""

    def __init__(self, database: Database, letters: LetterWriting) -> None:
        self._database = database
        self._letters = letters

    def add(self, claim: Claim, units: Iterable[tuple[str, str]]) -> None:
        """Add units that are not there yet."""
        now = self._database.now()
        new = [_new_unit(claim.job_id, unit_id, source, now) for unit_id, source in units]
        with self._database.write() as connection:
            fence.hold(connection, claim)
            if new:
                connection.execute(units_sql.add_unit(self._database.insert_into), new)

    def of_job(self, job_id: str) -> list[UnitRow]:
        """Return all units of a job, in the order of their ids."""
        with self._database.read() as connection:
            rows = connection.execute(units_sql.UNITS_OF_JOB, {"job_id": job_id}).all()
        return [_unit(row) for row in rows]

    def done(self, job_id: str) -> set[str]:
        """Return the ids of the units that are done."""
        with self._database.read() as connection:
            return set(connection.execute(units_sql.DONE_UNITS, {"job_id": job_id}).scalars())

    def failed(self, job_id: str, limit: int) -> list[UnitRow]:
        """Return the first units that failed, in the order of their ids."""
        asked = {"job_id": job_id, "at_most": limit}
        with self._database.read() as connection:
            rows = connection.execute(units_sql.FAILED_UNITS, asked).all()
        return [_unit(row) for row in rows]

    def failed_ids(self, job_id: str, prefix: str) -> list[str]:
        """Return the ids of the failed units that begin with `prefix`."""
        asked = {"job_id": job_id, "prefix": prefix}
        with self._database.read() as connection:
            return list(connection.execute(units_sql.FAILED_IDS, asked).scalars())

    def totals(self, job_id: str) -> UnitTotals:
        """Return what the finished units of a job add up to."""
        with self._database.read() as connection:
            totals = connection.execute(units_sql.UNIT_TOTALS, {"job_id": job_id}).mappings().one()
        return UnitTotals(**totals)

    def note_replaced(
        self, connection: Connection, claim: Claim, replaced: Mapping[str, int]
    ) -> None:
        """Note older rows of documents, in a transaction that holds the claim already."""
        now = self._database.now()
        if replaced:
            noted = [
                _new_unit(claim.job_id, unit_id, "", now) | {"replaced": rows}
                for unit_id, rows in replaced.items()
            ]
            connection.execute(units_sql.note_replaced(self._database.insert_into), noted)

    def crashed(self, claim: Claim, unit_ids: Sequence[str]) -> dict[str, int]:
        """Count a worker's death against each unit, and return the counts."""
        now = self._database.now()
        with self._database.write() as connection:
            fence.hold(connection, claim)
            if not unit_ids:
                return {}
            crashed = [
                _new_unit(claim.job_id, unit_id, "", now) | {"crashes": 1} for unit_id in unit_ids
            ]
            connection.execute(units_sql.count_crash(self._database.insert_into), crashed)
            asked = {"job_id": claim.job_id, "unit_ids": list(unit_ids)}
            counts = connection.execute(units_sql.CRASHES_OF_UNITS, asked).all()
            crashes = {row.unit_id: row.crashes for row in counts}
            told = _named(crashes) | {"crashes": max(crashes.values())}
            job_events.add(connection, claim.job_id, now, job_events.UNIT_CRASHED, told)
        return crashes

    def finish(self, claim: Claim, results: Sequence[UnitResult]) -> None:
        """Record how units ended."""
        with self._database.write() as connection:
            fence.hold(connection, claim)
            failures = [each.letter for each in results if each.letter is not None]
            # Before the units: whoever drops the collection locks its ledger, then deletes them.
            if failures:
                self._letters.lock_of_job(connection, claim.job_id)
            self.write(connection, claim, results)
            self._letters.failed(connection, claim.job_id, failures)

    def write(self, connection: Connection, claim: Claim, results: Sequence[UnitResult]) -> None:
        """Record how units ended, in a transaction that holds the claim already."""
        now = self._database.now()
        if results:
            ended = [_ended(claim.job_id, result, now) for result in results]
            connection.execute(units_sql.finish_unit(self._database.insert_into), ended)
        condemned = {each.unit_id: each for each in results if each.code in _OF_DEATHS}
        if condemned:
            told = _named(condemned) | {"code": next(iter(condemned.values())).code}
            job_events.add(connection, claim.job_id, now, job_events.QUARANTINED, told)


def _named(unit_ids: Collection[str]) -> dict[str, object]:
    """Return how an event names units: the first of them, and how many there are."""
    named = sorted(unit_ids)[: job_events.MOST_UNITS]
    return {"units": named, "count": len(unit_ids)}


def _new_unit(job_id: str, unit_id: str, source: str, now: int) -> dict[str, object]:
    identity = {"job_id": job_id, "unit_id": unit_id, "source": storable(source)}
    return units_sql.NEW_UNIT | identity | {"updated_at": now}


def _ended(job_id: str, result: UnitResult, now: int) -> dict[str, object]:
    return {
        "job_id": job_id,
        "unit_id": result.unit_id,
        "source": storable(result.source),
        "state": result.state.value,
        "crashes": 0,
        "content_hash": result.content_hash,
        "chunks": result.chunks,
        "computed": result.computed,
        "cached": result.cached,
        "category": None if result.category is None else result.category.value,
        "code": result.code,
        "reason": storable(result.reason),
        "seconds": result.seconds,
        "replaced": None,
        "updated_at": now,
    }


def _unit(row: Row[Any]) -> UnitRow:
    return UnitRow(
        unit_id=row.unit_id,
        source=row.source,
        state=UnitState(row.state),
        crashes=row.crashes,
        content_hash=row.content_hash,
        chunks=row.chunks,
        computed=row.computed,
        cached=row.cached,
        category=None if row.category is None else FailureCategory(row.category),
        code=row.code,
        reason=row.reason,
        seconds=row.seconds,
    )
