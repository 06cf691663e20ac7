"""The configuration of a call from Python: arguments over what was given over the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig, load_config


def settings_of(
    config: WorkersConfig | Path | str | None,
    state: Path | str | None,
    **sections: Mapping[str, object],
) -> WorkersConfig:
    """Return the configuration of a call.

    Args:
        config: The whole of it, or its file instead of ./application.yaml.
        state: Where all state is kept.
        sections: Settings of sections, by the section's name; None is not given.

    Raises:
        ConfigError: A key is unknown or a value is wrong.
    """
    overrides: dict[str, object] = {} if state is None else {"state_dir": Path(state)}
    for name, fields in sections.items():
        given = {key: value for key, value in fields.items() if value is not None}
        if given and isinstance(config, WorkersConfig):
            overrides[name] = dict(getattr(config, name)) | given
        elif given:
            overrides[name] = given
    if not isinstance(config, WorkersConfig):
        return load_config(None if config is None else Path(config), **overrides)
    # Checked as a whole again: a copy with changes would take any value.
    return load_config(None, **(dict(config) | overrides)) if overrides else config
