"""The section `service:` of the configuration: where the HTTP service listens, and its limits."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

MEGABYTE = 1_000_000
_HOST = re.compile(
    r"(?:\.?[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
    # An address of IPv6 without brackets has no port.
    r"|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*",
    re.ASCII | re.IGNORECASE,
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UrlSettings(_Part):
    """Documents that are fetched from elsewhere: off, and limited where they are on."""

    enabled: bool = Field(default=False, description="Whether documents may be named by URL")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Hosts that may be asked; `.example.org` means every host below it"
    )
    timeout_seconds: float = Field(60.0, gt=0, description="For the whole download")

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    f"{host!r} is no host: `example.org`, `.example.org` for every host below it, "
                    "or `example.org:8443`"
                )
        return hosts


class EmbeddingBatchSettings(_Part):
    """How requests for vectors are put together, and how many may wait."""

    most_texts: int = Field(64, ge=1, description="Most texts in one call of an embedder")
    calls_at_once: int = Field(2, ge=1, description="Calls under way at one embedder")
    most_waiting: int = Field(
        2048, ge=1, description="Texts that may wait in a replica; more are refused with 429"
    )
    retry_after_seconds: int = Field(1, ge=1, description="What a refused request is told to wait")


class ServiceSettings(_Part):
    """Where the HTTP service listens, who may use it, and how much."""

    host: str = Field(
        "127.0.0.1", min_length=1, description="The address it listens at; 0.0.0.0 is every one"
    )
    port: int = Field(8000, ge=0, le=65535, description="The port it listens at")
    min_replicas: int = Field(1, ge=1, description="Replicas that are always there")
    max_replicas: int = Field(2, ge=1, description="Replicas at the highest load")
    max_ongoing_requests: int = Field(
        100, ge=1, description="Requests that one replica works on at once"
    )
    max_queued_requests: int = Field(
        1000, ge=1, description="Requests that may wait for a replica; more are refused with 503"
    )
    max_body_mb: float = Field(32.0, gt=0, description="Largest JSON body")
    max_upload_mb: float = Field(1024.0, gt=0, description="Largest upload, all files together")
    max_files: int = Field(1000, ge=1, description="Most files, paths or URLs in one request")
    requests_per_minute: int = Field(
        60_000, ge=1, description="Of one token, at one replica; more are refused with 429"
    )
    drain_seconds: float = Field(
        5.0, ge=0, description="From readiness going false until nothing new is taken"
    )
    grace_seconds: float = Field(
        30.0, ge=0, description="What requests under way have to end, once nothing new is taken"
    )
    heartbeat_seconds: float = Field(
        15.0, gt=0, description="Between two signs of life in a stream of events"
    )
    urls: UrlSettings = UrlSettings()  # pyright: ignore[reportCallIssue]
    batches: EmbeddingBatchSettings = EmbeddingBatchSettings()  # pyright: ignore[reportCallIssue]
