"""The cluster that `submit` talks to, connected without Ray's own chatter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexigram_ray.cli.output import say_stray
from lexigram_ray.cli.stray import stdout_is_for_results

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.runtime.job_submission import ClusterJobs


def connect(config: WorkersConfig, address: str | None) -> tuple[ClusterJobs, bool]:
    """Connect to the cluster that is asked for, or noted.

    Returns:
        Its jobs, and whether it is the one that `up` has started here for this state.

    Raises:
        WorkerError: There is none, or it does not answer, or does not let us in.
    """
    with stdout_is_for_results(say_stray):
        from lexigram_ray.runtime.submission_address import submission_address

        # Before Ray is imported: it may have to know of a token.
        place = submission_address(config, address)
        from lexigram_ray.runtime.job_submission import ClusterJobs

        return ClusterJobs(place.url), place.is_of_this_state
