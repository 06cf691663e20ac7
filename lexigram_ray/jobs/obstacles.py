"""Why dead letters are not retried now."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from lexigram_ray.jobs.letter_records import LetterStatus

__all__ = ["OBSTACLE_OF_STATUS", "PASSING", "Obstacle"]


class Obstacle(StrEnum):
    """Why a letter is not retried now."""

    RETRYING = "a job tries it again already"
    CLOSED = "it is closed"
    UNFINISHED = "the job in which it failed has not ended"
    OTHERS_TURN = "a job that leaves earlier failures alone is running over its document"
    NO_JOB = "the store has no job that says how it is done"
    NO_REQUEST = "an older version recorded its job without its request: run that command again"
    OTHER_KIND = "this version does not do jobs of its kind"
    OBJECT = "only the program that submitted it can do it"
    FILE_GONE = "its file is gone"
    TABLE_GONE = "its table is gone"
    TEXTS_GONE = "its texts came from no file, and are no longer kept"


PASSING = frozenset({Obstacle.UNFINISHED, Obstacle.OTHERS_TURN})
"""Obstacles that are sure to pass by themselves, and soon."""


OBSTACLE_OF_STATUS = MappingProxyType(
    {
        LetterStatus.RETRYING: Obstacle.RETRYING,
        LetterStatus.ADDRESSED: Obstacle.CLOSED,
        LetterStatus.ARCHIVED: Obstacle.CLOSED,
    }
)
