"""The configuration of workers that were given none: the application's, or our own."""

from __future__ import annotations

from typing import Any, cast

from lexigram_ray.core.config import CONFIG_SECTION, load_config
from lexigram_ray.workers.config import WorkersConfig
from lexigram_ray.workers.di._bases import contract
from lexigram_ray.workers.di._containers import bound

__all__ = ["application_config"]


async def application_config(container: Any) -> WorkersConfig:
    """Return what the application's configuration says of the workers.

    The framework's has a section `ai_workers` that comes from its own files and profiles, with the
    environment over it already. Without the framework, or without such a section, it is what
    `load_config` reads.

    Raises:
        ConfigError: A key is unknown or a value is wrong.
    """
    application: Any = await bound(container, contract("LexigramConfig"))
    section: object = None if application is None else application.get_section(CONFIG_SECTION)
    if isinstance(section, WorkersConfig):
        return section
    if isinstance(section, dict):
        return load_config(None, **cast("dict[str, object]", section))
    return load_config()
