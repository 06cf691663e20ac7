"""Going again when Lance has refused a commit, because another one came first."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.vectors.collection import Collection

logger = logging.getLogger("lexigram_ray")

T = TypeVar("T")

TRIES = 50
FIRST_WAIT_SECONDS = 0.03
LONGEST_WAIT_SECONDS = 1.0


def until_accepted(collection: Collection, attempt: Callable[[], T]) -> T:
    """Call `attempt` until Lance accepts its commit.

    LanceDB users and maintenance write without taking turns. `attempt` must begin with the newest
    version and the fence check: what is repeated is the whole of it, not the commit.

    Raises:
        WriteConflictError: Others were first every time.
    """
    for number in range(TRIES):
        try:
            return attempt()
        except WriteConflictError as error:
            logger.info("commit to %s refused, try %d: %s", collection.name, number + 1, error)
            wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * (number + 1))
            time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
    raise WriteConflictError(
        f"collection {collection.name} was changed by others during each of {TRIES} tries to "
        "write to it",
        hint="run the same command again when the other writers have ended",
    )
