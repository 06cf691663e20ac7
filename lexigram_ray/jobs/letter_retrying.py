"""Submitting jobs for dead letters, and marking the letters: in one transaction, by one sweeper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Row

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import dead_letters_sql, jobs_sql
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.intake import Intake, to_json
from lexigram_ray.jobs.letter_records import LetterRetry
from lexigram_ray.jobs.letter_writing import LetterWriting, batches
from lexigram_ray.jobs.listing import job_of, rows_of_ids
from lexigram_ray.jobs.recorded_config import mapping
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.requests import REQUEST, RETRY_FAILED, retries_failed

_Made = tuple[Row[Any], bool]


class LetterRetrying:
    """Retries letters. `DeadLetters` documents the promises."""

    def __init__(self, database: Database, intake: Intake, writing: LetterWriting) -> None:
        self._database = database
        self._intake = intake
        self._writing = writing

    def retry(self, retries: Sequence[LetterRetry]) -> list[tuple[Job, bool]]:
        """Submit jobs and mark the letters that they are for."""
        with self._database.write() as connection:
            # From here on no other sweeper retries. Other changes of letters are kept out only
            # once the jobs are locked, so the letters are looked at twice.
            self._intake.lock(connection)
            still_open = _still_open(connection, _letters_of(retries))
            wanted = [each for each in retries if each.anyway or still_open & {*each.letter_ids}]
            made = _asked_for_failed(connection, wanted, self._submitted(connection, wanted))
            self._lock_ledgers(connection, _letters_of(wanted))
            still_open = _still_open(connection, _letters_of(wanted))
            new = {row.id for row, is_new in made if is_new}
            kept: list[Row[Any]] = []
            for each, (row, _) in zip(wanted, made, strict=True):
                mine = [one for one in dict.fromkeys(each.letter_ids) if one in still_open]
                if _leaves_failed(each, row):
                    mine = []
                still_open.difference_update(mine)
                if mine:
                    marks = [{"letter_id": one, "by_job": row.id} for one in mine]
                    connection.execute(dead_letters_sql.MARK_RETRYING, marks)
                if mine or each.anyway:
                    kept.append(row)
            # Only now: a retry may have found the job that one before it has made in vain.
            for job_id in sorted(new - {row.id for row in kept}):
                connection.execute(jobs_sql.UNMAKE_JOB, {"job_id": job_id})
        first = {row.id: place for place, row in reversed([*enumerate(kept)])}
        return [
            (job_of(row), row.id in new and first[row.id] == place)
            for place, row in enumerate(kept)
        ]

    def _submitted(self, connection: Connection, retries: Sequence[LetterRetry]) -> list[_Made]:
        """Make the jobs, or find unfinished ones that do not end before we commit."""
        made: dict[int, _Made] = {}
        missing = list(range(len(retries)))
        while missing:
            submissions = [retries[place].submission for place in missing]
            made |= dict(zip(missing, self._intake.add(connection, submissions), strict=True))
            missing = _ended(connection, made)
        return [made[place] for place in range(len(retries))]

    def _lock_ledgers(self, connection: Connection, letter_ids: Sequence[str]) -> None:
        self._writing.lock(connection, collections_of(connection, letter_ids))


def collections_of(connection: Connection, letter_ids: Sequence[str]) -> set[str]:
    """Return where letters are."""
    found: set[str] = set()
    for some in batches(letter_ids):
        asked = {"letter_ids": some}
        found |= set(connection.execute(dead_letters_sql.COLLECTIONS_OF, asked).scalars())
    return found


def _ended(connection: Connection, made: dict[int, _Made]) -> list[int]:
    """Lock jobs that others have made, and return the places of those that have ended."""
    found = sorted({row.id for row, is_new in made.values() if not is_new})
    ended: set[str] = set()
    for some in batches(found):
        rows = connection.execute(jobs_sql.LOCK_JOBS, {"job_ids": some})
        ended |= {row.id for row in rows if JobStatus(row.status).is_final}
    return [place for place, (row, _) in made.items() if row.id in ended]


def _asked_for_failed(
    connection: Connection, retries: Sequence[LetterRetry], made: list[_Made]
) -> list[_Made]:
    """Have found jobs that nobody works on yet try remembered failures again, as retries do.

    Their identity stays what it is: two jobs over the same paths would only be in each other's way.
    """
    found = {
        row.id: row
        for each, (row, is_new) in zip(retries, made, strict=True)
        if not is_new and _leaves_failed(each, row)
    }
    for job_id, row in sorted(found.items()):
        spec = cast("dict[str, object]", json.loads(row.spec))
        asked = spec | {REQUEST: {**mapping(spec.get(REQUEST)), RETRY_FAILED: True}}
        connection.execute(jobs_sql.ASK_MORE, {"job_id": job_id, "new_spec": to_json(asked)})
    now = rows_of_ids(connection, sorted(found))
    return [(now.get(row.id, row), is_new) for row, is_new in made]


def _leaves_failed(retry: LetterRetry, row: Row[Any]) -> bool:
    """Whether a job leaves remembered failures alone which a retry wants to be tried again."""
    return retries_failed(retry.submission.spec) and not retries_failed(json.loads(row.spec))


def _letters_of(retries: Iterable[LetterRetry]) -> list[str]:
    return list(dict.fromkeys(one for each in retries for one in each.letter_ids))


def _still_open(connection: Connection, letter_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in batches(letter_ids):
        asked = {"letter_ids": some}
        found |= set(connection.execute(dead_letters_sql.STILL_OPEN, asked).scalars())
    return found
