"""Whether the figures of a store that faults were made in are those of its jobs."""

from __future__ import annotations

from lexigram_ray.jobs.store import Store


def disagreements(store: Store) -> list[str]:
    """Add what has ended to the figures, and say where they are not the store's own counts."""
    store.metrics.roll_up()
    return [f"the figures do not agree: {each}" for each in store.metrics.compare()]
