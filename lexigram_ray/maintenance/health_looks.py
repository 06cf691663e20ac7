"""The single looks of a health check. Each returns how its part is, or raises what is wrong."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import LetterStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.requests import EMBED, INGEST
from lexigram_ray.maintenance.verdicts import Verdict

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.maintenance_settings import HealthCheckSettings
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.store import Store
    from lexigram_ray.maintenance.duty import DutyContext

CLUSTER_NOTE = "cluster.json"
"""Where `up` notes its cluster, in the state directory; `runtime.cluster_file` writes it."""

OPEN_LETTERS = "open_dead_letters"
KINDS = (INGEST, EMBED)
JOBS_LOOKED_AT = 200
NAMED = 3
# Longer than writing a row takes on any disk that is well.
TICKET_SECONDS = 10.0
GIGABYTE = 10**9


def store(config: WorkersConfig, store_id: str) -> Verdict:
    """Open the store anew, write to it durably, and read from it.

    Anew, because a handle that is open goes on working on a file that has been removed.

    Args:
        store_id: Of the store that the duty was begun with.

    Raises:
        StoreUnreachableError: It does not open, or does not answer.
        DiskFullError: No space is left for a row.
    """
    from lexigram_ray.jobs.store import Store

    opened = Store.open_existing(config.paths.store_url)
    if opened is None:
        return Verdict(
            status="fail",
            detail="the job store is gone from its place",
            fix="end what still runs (`lexigram-ray down`), then bring back a backup "
            "(`lexigram-ray store restore`)",
        )
    with opened:
        if opened.store_id != store_id:
            return Verdict(
                status="fail",
                detail=f"another job store lies in its place: {opened.store_id}, not {store_id}",
                fix="end what still runs (`lexigram-ray down`), and see which one is the right one",
            )
        # No collection can have a name with an asterisk: nobody waits for this turn.
        with opened.turn(f"*health-{uuid.uuid4().hex}", Owner.current(), TICKET_SECONDS):
            jobs = sum(opened.counts().values())
    return Verdict(status="ok", detail=f"was written to and read from; {_counted(jobs, 'job')}")


def disk(config: WorkersConfig, settings: HealthCheckSettings) -> Verdict:
    """Compare what is free where state, data and scratch lie with what is needed."""
    places = {
        name: _space(name, path, settings)
        for name, path in (
            ("state", config.state_dir),
            ("data", config.paths.lancedb.parent),
            ("scratch", config.paths.scratch),
        )
    }
    figures: dict[str, object] = {"disk": {name: space.figures for name, space in places.items()}}
    worst = min(places.values(), key=lambda each: ("fail", "warn", "ok").index(each.status))
    fix = worst.fix
    if fix:
        fix += "; `lexigram-ray maintenance run document_cleanup` and `cache_cleanup` free some"
    return Verdict(status=worst.status, detail=worst.detail, fix=fix, figures=figures)


def _space(name: str, path: Path, settings: HealthCheckSettings) -> Verdict:
    usage = shutil.disk_usage(_nearest_existing(path))
    share = usage.free / usage.total if usage.total else 0.0
    figures = {"free_bytes": usage.free, "free_share": round(share, 4)}
    detail = (
        f"{usage.free / GIGABYTE:,.1f} of {usage.total / GIGABYTE:,.1f} GB ({share:.0%}) are free "
        f"for {name} at {path}"
    )
    if usage.free < settings.disk_fail_bytes:
        fix = f"free some space at {path}: jobs fail when none is left"
        return Verdict(status="fail", detail=detail, fix=fix, figures=figures)
    if usage.free < settings.disk_warn_bytes or share < settings.disk_warn_share:
        fix = f"free some space at {path}"
        return Verdict(status="warn", detail=detail, fix=fix, figures=figures)
    return Verdict(status="ok", detail=detail, figures=figures)


def _nearest_existing(path: Path) -> Path:
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))


def cluster(config: WorkersConfig) -> Verdict:
    """See whether the head that `up` has started still runs; Ray itself is not asked."""
    note = _cluster_note(config)
    head = _head_in(note)
    if not note:
        return Verdict(status="ok", detail="none is up")
    if head is None:
        return Verdict(status="ok", detail=f"{note.get('address')} was there before `up`")
    if head.is_gone():
        return Verdict(
            status="fail",
            detail=f"the head that `up` has started ({head}) is gone: nobody works on jobs",
            fix="lexigram-ray up",
        )
    return Verdict(status="ok", detail=f"its head runs ({head})")


def is_up(config: WorkersConfig) -> bool:
    """Return whether `up` has noted a cluster that has not ended, as far as this machine shows."""
    note = _cluster_note(config)
    head = _head_in(note)
    return bool(note) and (head is None or not head.is_gone())


def _cluster_note(config: WorkersConfig) -> dict[str, object]:
    from lexigram_ray.embedding.json_file import read_object

    return read_object(config.paths.root / CLUSTER_NOTE)


def _head_in(note: dict[str, object]) -> Owner | None:
    head = note.get("head")
    owner = cast("dict[str, object]", head).get("owner") if isinstance(head, dict) else None
    if not isinstance(owner, dict):
        return None
    return Owner(**cast("dict[str, str]", owner))  # pyright: ignore[reportArgumentType]


def jobs(context: DutyContext, settings: HealthCheckSettings) -> Verdict:
    """Look for jobs that nobody goes on with: their process is gone, or none comes for them."""
    has_workers = is_up(context.config)
    ready = context.store.ready(KINDS, limit=JOBS_LOOKED_AT)
    orphans = [job for job in ready if job.status is JobStatus.RUNNING]
    since = context.now() - timedelta(seconds=settings.stuck_seconds)
    waiting = [
        job
        for job in ready
        if job.status is JobStatus.PENDING and _ready_since(context.store, job) < since
    ]
    figures: dict[str, object] = {"orphaned_jobs": len(orphans), "waiting_jobs": len(waiting)}
    if orphans:
        who = _named(orphans)
        if has_workers:
            detail = f"the process of {who} is gone; `up` is to go on with it"
            return Verdict(status="warn", detail=detail, figures=figures)
        return Verdict(
            status="fail",
            detail=f"the process of {who} is gone, and nobody goes on with it",
            fix=f"lexigram-ray up, or lexigram-ray jobs cancel {orphans[0].id}",
            figures=figures,
        )
    if waiting:
        return _waiting_verdict(context.store, waiting, figures, has_workers=has_workers)
    return Verdict(status="ok", detail="none is left alone", figures=figures)


def _waiting_verdict(
    of: Store, waiting: Sequence[Job], figures: dict[str, object], *, has_workers: bool
) -> Verdict:
    who = _named(waiting)
    if not has_workers:
        detail = f"{who} has waited for long, and nothing works on jobs"
        fix = f"lexigram-ray up, or lexigram-ray jobs cancel {waiting[0].id}"
        return Verdict(status="warn", detail=detail, fix=fix, figures=figures)
    if any(of.running(kind) for kind in {job.kind for job in waiting}):
        return Verdict(status="ok", detail=f"{who} waits for its turn", figures=figures)
    return Verdict(
        status="fail",
        detail=f"{who} has waited for long, and `up` does not begin with it",
        fix="lexigram-ray status shows the queue; lexigram-ray up starts it where it is missing",
        figures=figures,
    )


def _ready_since(of: Store, job: Job) -> datetime:
    """Return since when a pending job could have been claimed, as far as the store tells."""
    ends = [attempt.ended_at for attempt in of.attempts_of(job.id)]
    return max(filter(None, (job.created_at, job.run_after, *ends)))


def _named(found: Sequence[Job]) -> str:
    shown = ", ".join(job.id for job in found[:NAMED])
    more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    return f"job {shown}" if len(found) == 1 else f"each of {len(found):,} jobs ({shown}{more})"


def dead_letters(of: Store, schedule: str, growth: int) -> Verdict:
    """Compare the open dead letters with those at the last look.

    Args:
        schedule: Whose last run is compared with.
        growth: From so many more on, a person should know.
    """
    now_open = of.dead_letters.counts()[LetterStatus.OPEN]
    figures: dict[str, object] = {OPEN_LETTERS: now_open}
    before = _open_before(of, schedule)
    if before is not None and now_open - before >= growth:
        return Verdict(
            status="warn",
            detail=f"{now_open:,} are open, {now_open - before:,} more than at the last look",
            fix="lexigram-ray dlq groups",
            is_alarming=True,
            figures=figures,
        )
    return Verdict(status="ok", detail=f"{now_open:,} are open", figures=figures)


def _open_before(of: Store, schedule: str) -> int | None:
    last = of.schedules.last_completed(schedule)
    before = last.figures.get(OPEN_LETTERS) if last is not None else None
    return before if isinstance(before, int) else None


def collection_names(root: Path) -> list[str]:
    """Return what is called like a collection, sorted: also what has lost its table."""
    from lexigram_ray.core.errors import InvalidNameError
    from lexigram_ray.vectors.collections import SUFFIX, validate_name

    def names() -> Iterator[str]:
        try:
            found = os.listdir(root)
        except FileNotFoundError:
            return
        for file in found:
            name = file.removesuffix(SUFFIX)
            try:
                validate_name(name)
            except InvalidNameError:  # a table that is being made, or was dropped
                continue
            if name != file:
                yield name

    return sorted(names())


def collection(root: Path, name: str) -> Verdict:
    """Open a collection, count its rows, and read one whole.

    Raises:
        WorkerError: One of these fails.
        CollectionNotFoundError: It was dropped meanwhile.
    """
    from lexigram_ray.vectors.collections import Collections
    from lexigram_ray.vectors.translate import lance_errors

    opened = Collections(root).open(name)
    rows = opened.count_rows()
    with lance_errors(name, opened.path):
        read = opened.dataset.head(1).num_rows
    if read != min(1, rows):
        return Verdict(
            status="fail",
            detail=f"it says that it has {_counted(rows, 'row')}, and none can be read",
            fix=f"restore {opened.path} from a backup, or drop the collection and ingest again",
        )
    return Verdict(status="ok", detail=f"{_counted(rows, 'row')} at version {opened.version}")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
