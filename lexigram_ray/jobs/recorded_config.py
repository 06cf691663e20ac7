"""What of the configuration a job records, and how another process takes it for its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from lexigram_ray.core.config import (
    ChunkingSettings,
    EmbeddingSettings,
    ParserSettings,
    RuntimeSettings,
    ServerSettings,
    WorkersConfig,
)
from lexigram_ray.core.errors import ConfigError

NEEDS_SECRET = "needs_secret"  # noqa: S105 - a setting's name

SECTIONS: dict[str, type[BaseModel]] = {
    "embedding": EmbeddingSettings,
    "chunking": ChunkingSettings,
    "parser": ParserSettings,
    "runtime": RuntimeSettings,
}
"""What of the configuration decides a run. Places, leases and secrets are the runner's."""

RUNNERS_OWN = (("runtime", "inline_seconds"),)
"""Settings of these sections that say what a process takes upon itself."""


def recorded_config(config: WorkersConfig) -> dict[str, object]:
    """Return the part of the configuration that decides a run, as JSON, without secrets."""
    recorded = {
        name: cast("BaseModel", getattr(config, name)).model_dump(mode="json") for name in SECTIONS
    }
    for section, setting in RUNNERS_OWN:
        del recorded[section][setting]
    embedding = recorded["embedding"]
    embedding["model"] = _model_as_everywhere(config.embedding)
    server = config.embedding.server
    embedding["server"] = {
        name: value
        for name, value in embedding["server"].items()
        if name not in ("api_key", "url", "api_key_file")
    } | {
        "url": _without_query(server.url),
        "api_key_file": str(absolute(server.api_key_file)) if server.api_key_file else None,
        NEEDS_SECRET: server.api_key is not None or _without_query(server.url) != server.url,
    }
    return cast("dict[str, object]", recorded)


def restored_config(base: WorkersConfig, recorded: Mapping[str, object]) -> WorkersConfig:
    """Return this process's configuration with what a job has recorded over it.

    A server's key is taken from `base` where it has one for the same server, else from the file
    that was recorded.

    Raises:
        ConfigError: What is recorded is not understood here, or needs a key that is not here.
    """
    found = {name: dict(mapping(recorded.get(name))) for name in SECTIONS}
    server = dict(mapping(found["embedding"].get("server")))
    needs_secret = bool(server.pop(NEEDS_SECRET, False))
    own = _secrets_for(base.embedding.server, server.get("url"))
    server |= own
    if needs_secret and not own:
        raise ConfigError(
            f"the job needs the key of the embedding server {server.get('url')}, which is not "
            "recorded, and this process has none for it",
            hint="set embedding.server.url and its api_key where `lexigram-ray up` runs, or give "
            "the key by api_key_file",
        )
    found["embedding"]["server"] = server
    for section, setting in RUNNERS_OWN:
        found[section][setting] = getattr(getattr(base, section), setting)
    return base.model_copy(
        update={name: _section(SECTIONS[name], name, found[name]) for name in SECTIONS}
    )


def absolute(path: Path) -> Path:
    """Return a path as every working directory has it, its links unresolved."""
    return Path(os.path.abspath(path.expanduser()))


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a recorded object; an empty one where something else, or nothing, is recorded."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _secrets_for(own: ServerSettings, url: object) -> dict[str, object]:
    """Return what is secret of the way to a server; nothing where nothing is known of it."""
    if own.url is None or _without_query(own.url) != url:
        return {}
    found: dict[str, object] = {}
    if own.url != url:
        found["url"] = own.url
    if own.api_key is not None or own.api_key_file is not None:
        found |= {"api_key": own.api_key, "api_key_file": own.api_key_file}
    return found


def _model_as_everywhere(settings: EmbeddingSettings) -> str:
    """Return the model's name, or its folder as every working directory has it."""
    folder = Path(settings.model).expanduser()
    is_local = settings.server.url is None and folder.is_dir()
    return str(folder.resolve()) if is_local else settings.model


def _without_query(url: str | None) -> str | None:
    # It may hold a key.
    return None if url is None else urlsplit(url)._replace(query="", fragment="").geturl()


def _section(model: type[BaseModel], name: str, values: Mapping[str, object]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigError(
            f"the job's recorded setting {where} is not understood here: {first['msg']}",
            hint="another version has recorded it: submit the same command again with this one",
        ) from error
