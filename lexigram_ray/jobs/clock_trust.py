"""Whether a clock may be trusted with what cannot be brought back.

A clock that was set a year ahead makes everything a year old at once. Whoever deletes by age, and
is asked by nobody, so waits until the store has seen a day pass by this clock: a job that was made
a day ago by it, and not much longer. After a jump, or a long time off, that is a day for somebody
to see that the clock is wrong.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lexigram_ray.jobs.store import Store

SEEN_TO_PASS = timedelta(days=1)
LOOKED_BACK = timedelta(days=7)
"""So that a week in which nobody was there costs no further day; it is little beside what is kept.
"""


def is_clock_trusted(store: Store, now: datetime) -> bool:
    """Return whether the store has seen a day pass by the clock that says `now`."""
    return store.had_jobs_between(now - LOOKED_BACK, now - SEEN_TO_PASS)
