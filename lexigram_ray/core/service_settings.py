"""The section `service:` of the configuration: where the HTTP service listens, and to whom."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class ServiceSettings(BaseModel):
    """Where the HTTP service listens, and who may use it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(
        "127.0.0.1", min_length=1, description="The address it listens at; 0.0.0.0 is every one"
    )
    tokens_file: Path | None = Field(
        None, description="A file of bearer tokens; without one it starts only on loopback"
    )

    @field_validator("tokens_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        try:
            return path.expanduser().absolute() if path is not None else None
        except RuntimeError as error:
            raise ValueError(str(error)) from error
