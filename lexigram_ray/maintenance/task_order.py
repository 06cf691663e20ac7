"""What the process of a run is told, and the kinds of its replies."""

from __future__ import annotations

from dataclasses import dataclass

from lexigram_ray.core.config import WorkersConfig

CLAIMED = "claimed"
"""The job is its own: fence and owner."""
BUSY = "busy"
"""Another process works on the job."""
OVER = "over"
"""The job has ended already."""
TELL = "tell"
"""A line of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job to be run.

    Attributes:
        actor: Name of the Ray actor that has it run; empty where there is none.
        parent: Process id of whoever watches over it; the child ends with it.
        function: The task itself, pickled, where the job's task is no import path.
    """

    config: WorkersConfig
    job_id: str
    actor: str
    parent: int
    function: bytes | None = None
