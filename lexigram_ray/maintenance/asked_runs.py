"""Who has asked for a run: a person just now, or a schedule that was set up once."""

from __future__ import annotations

from lexigram_ray.jobs.clock_trust import is_clock_trusted
from lexigram_ray.jobs.schedule_records import Trigger
from lexigram_ray.maintenance.duty import DutyContext

CLOCK_NOT_TRUSTED = (
    "nothing goes for its age yet: this store has not seen a day pass by this machine's clock, "
    "which may be wrong (a run that somebody asks for does not wait)"
)


def is_asked_for(context: DutyContext) -> bool:
    """Return whether somebody has asked for this run: no schedule has made it."""
    job = None if context.claim is None else context.store.get(context.claim.job_id)
    trigger = Trigger.MANUAL if job is None else job.spec.get("trigger", Trigger.MANUAL)
    return trigger == Trigger.MANUAL


def may_remove_by_age(context: DutyContext) -> bool:
    """Return whether a run may remove what is old by the clock, for good.

    Whoever asks for it has a look at the clock, and may have used the store weeks ago.
    """
    return is_asked_for(context) or is_clock_trusted(context.store, context.now())
