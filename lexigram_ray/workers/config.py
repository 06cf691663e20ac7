"""Configuration of the workers: `ai_workers:` in application.yaml, `LEX_AI_WORKERS__*` over it."""

from __future__ import annotations

from lexigram_ray.core.config import (
    ENV_NESTED_DELIMITER,
    ENV_PREFIX,
    WorkersConfig,
    load_config,
)
from lexigram_ray.core.environment import ConfigIssue, Environment

__all__ = [
    "ENV_NESTED_DELIMITER",
    "ENV_PREFIX",
    "ConfigIssue",
    "Environment",
    "WorkersConfig",
    "load_config",
]
