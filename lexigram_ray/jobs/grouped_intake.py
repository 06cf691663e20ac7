"""Submissions of many threads at the same time in one transaction: each one's own waits for a disk.

While one thread commits, the others that come leave what they want in a list; whoever commits next
takes all of it. Alone, a submission is a transaction of its own, and waits for nobody.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from lexigram_ray.core.errors import ConflictError, UsageError
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.intake import Intake
from lexigram_ray.jobs.listing import job_of
from lexigram_ray.jobs.records import Job, Submission
from lexigram_ray.jobs.turns import Turns

MOST_AT_ONCE = 100


@dataclass(slots=True)
class _Asked:
    """A submission that waits, and what became of it."""

    turn: str
    submission: Submission
    is_ready: Callable[[], bool]
    is_done: bool = False
    found: tuple[Job, bool] | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Gathered:
    """What the threads of one process want; a fork begins anew, as its threads are not there."""

    pid: int = field(default_factory=os.getpid)
    adding: threading.Lock = field(default_factory=threading.Lock)
    committing: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[_Asked] = field(default_factory=list[_Asked])


class GroupedIntake:
    """Takes submissions in turns that nobody has. `Store` documents the promises."""

    def __init__(self, database: Database, intake: Intake, turns: Turns) -> None:
        self._database = database
        self._intake = intake
        self._turns = turns
        self._gathered = _Gathered()

    def submit(
        self, turn: str, submission: Submission, is_ready: Callable[[], bool]
    ) -> tuple[Job, bool] | None:
        """Submit, with whatever other threads submit now."""
        if self._gathered.pid != os.getpid():
            self._gathered = _Gathered()
        gathered = self._gathered
        mine = _Asked(turn, submission, is_ready)
        with gathered.adding:
            gathered.waiting.append(mine)
        while not mine.is_done:
            with gathered.committing:
                if not mine.is_done:
                    self._commit(gathered)
        if mine.error is not None:
            raise mine.error
        return mine.found

    def _commit(self, gathered: _Gathered) -> None:
        with gathered.adding:
            group = gathered.waiting[:MOST_AT_ONCE]
            del gathered.waiting[:MOST_AT_ONCE]
        try:
            self._submit_all(group)
        except ConflictError as error:
            # PostgreSQL ends a whole transaction for one key that was given at the same moment.
            self._submit_each(group, error)
        except BaseException as error:
            for each in group:
                each.error = error
            # Each raises its own: whoever commits need not be one of these.
            if not isinstance(error, Exception):
                raise
        finally:
            for each in group:
                each.is_done = True

    def _submit_each(self, group: Sequence[_Asked], error: ConflictError) -> None:
        if len(group) == 1:
            group[0].error = error
            return
        for each in group:
            try:
                self._submit_all([each])
            except Exception as own:  # noqa: BLE001 - it is raised where it was asked for
                each.error = own

    def _submit_all(self, group: Sequence[_Asked]) -> None:
        with self._database.write() as connection:
            # In one order, so that two groups do not wait for each other.
            self._intake.lock(connection)
            for each in sorted(group, key=lambda asked: asked.turn):
                self._submit_one(connection, each)

    def _submit_one(self, connection: Connection, asked: _Asked) -> None:
        asked.found, asked.error = None, None
        try:
            if self._turns.is_free(connection, asked.turn) and asked.is_ready():
                row, is_new = self._intake.take(connection, asked.submission)
                asked.found = job_of(row), is_new
        except (UsageError, OSError) as error:
            # Found by looking, and no error of the database: the others' transaction goes on.
            asked.error = error
