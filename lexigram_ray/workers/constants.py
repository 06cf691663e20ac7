"""Defaults and limits of the workers, and where their settings come from."""

from __future__ import annotations

from lexigram_ray import __version__
from lexigram_ray.core.config import ENV_NESTED_DELIMITER, ENV_PREFIX

__all__ = [
    "DEFAULT_BASE_BACKOFF",
    "DEFAULT_CHECK_INTERVAL",
    "DEFAULT_MAX_RETRIES",
    "DEFAULT_TASK_TIMEOUT",
    "ENV_NESTED_DELIMITER",
    "ENV_PREFIX",
    "MAX_BACKOFF_SECONDS",
    "MAX_HISTORY_SIZE",
    "__version__",
]

DEFAULT_CHECK_INTERVAL: int = 60
"""Seconds between two looks at what is due."""

DEFAULT_MAX_RETRIES: int = 5
"""Automatic retries of a failed job."""

DEFAULT_BASE_BACKOFF: int = 60
"""Seconds before the first of them; the wait doubles with each."""

MAX_BACKOFF_SECONDS: int = 3600
"""The longest wait between two retries."""

DEFAULT_TASK_TIMEOUT: float = 300.0
"""Seconds after which a maintenance task is stopped."""

MAX_HISTORY_SIZE: int = 1000
"""Ended maintenance runs that are remembered."""
