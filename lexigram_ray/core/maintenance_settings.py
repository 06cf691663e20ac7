"""The section `maintenance:` of the configuration: what runs when, and what each duty may do."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IndexOptimizationSettings(_Section):
    """When collections are compacted and their indexes rebuilt."""

    collection: str | None = Field(None, description="Only this collection is looked after")
    min_rows: int = Field(
        50_000, ge=256, description="Smaller collections are searched without a vector index"
    )
    target_recall: float = Field(
        0.95, gt=0, le=1, description="Share of the ten nearest rows that a search must find"
    )
    retrain_share: float = Field(
        0.2, gt=0, le=1, description="An index is trained anew when it lacks this share of the rows"
    )
    retrain_growth: float = Field(
        4.0, gt=1, description="... or when there are so many times the rows it was trained on"
    )
    target_rows_per_fragment: int = Field(
        262_144, ge=1_024, description="Smaller fragments are merged up to this size"
    )
    keep_versions_seconds: float = Field(
        604_800.0, ge=3_600, description="How long an old version of a collection is kept"
    )


class CacheCleanupSettings(_Section):
    """What of the embedding cache is removed, and of the texts and rows kept beside it."""

    older_than_days: int | None = Field(None, ge=0, description="Vectors made longer ago go")
    unused_for_days: int | None = Field(
        90, ge=0, description="Vectors that nobody has used for so long go; null keeps them"
    )
    max_bytes: int | None = Field(
        None, ge=0, description="Then the vectors used longest ago go, until the rest fits"
    )
    parsed_for_days: float = Field(
        7.0, ge=1, description="How long the text of a document stays that no ledger has"
    )


class DocumentRules(_Section):
    """When documents leave a collection by themselves; what is not set removes nothing."""

    older_than_days: float | None = Field(
        None, ge=0, description="Documents written longer ago than this go"
    )
    missing_for_days: float | None = Field(
        None, ge=0, description="Documents go whose file has been gone for so long"
    )


class DocumentCleanupSettings(DocumentRules):
    """Which documents leave their collections, and what becomes of leftovers."""

    collections: dict[str, DocumentRules] = Field(
        default={}, description="Rules of single collections by name, instead of those for all"
    )
    collection: str | None = Field(None, description="Only this collection is cleaned")
    remove_orphans: bool = Field(
        False,
        description="Remove folders that belong to nothing; as an option of a run, rows and "
        "records too",
    )


class MetricsRollupSettings(_Section):
    """How long the figures by minute, hour and day are kept."""

    keep_minutes_hours: int = Field(48, ge=1, description="Hours for which minutes are kept")
    keep_hours_days: int = Field(90, ge=1, description="Days for which hours are kept")
    keep_days: int | None = Field(
        None, ge=1, description="Days for which days are kept; for ever unless set"
    )


class HealthCheckSettings(_Section):
    """From which figure on something is unwell."""

    dead_letter_growth: int = Field(
        100, ge=1, description="More open letters than at the last look that a person is told of"
    )
    disk_warn_bytes: int = Field(5 * 10**9, ge=0, description="Less free than this is a warning")
    disk_warn_share: float = Field(
        0.1, ge=0, le=1, description="A smaller free share than this is a warning"
    )
    disk_fail_bytes: int = Field(10**9, ge=0, description="Less free than this is a fault")
    stuck_seconds: float = Field(
        3600.0, gt=0, description="A job that could begin and waits longer is stuck"
    )
    embedder: bool = Field(True, description="Load the model and compare a known vector")
    check_seconds: float = Field(20.0, gt=0, description="Time limit of a look")
    embedder_seconds: float = Field(120.0, gt=0, description="Time limit of the look at the model")
    seconds_in_all: float = Field(240.0, gt=0, description="Time limit of all looks together")


class IntegrityCheckSettings(_Section):
    """How collections are compared with the ledger."""

    collection: str | None = Field(None, description="Only this collection is checked")
    norm_tolerance: float = Field(
        1e-3, gt=0, lt=1, description="How far a vector's length may be from 1"
    )
    named: int = Field(20, ge=1, description="Documents of a collection named one by one")
    mark: bool = Field(
        True,
        description="Note differing documents as unfinished: ingesting them writes them anew",
    )


class ScheduleOverride(_Section):
    """Changes of a built-in duty's schedule; what is left out stays as it is."""

    cron: str | None = Field(None, description="Five fields: minute hour day month weekday")
    interval_seconds: float | None = Field(None, ge=1, description="Instead of cron")
    timezone: str | None = Field(None, description="IANA name, for cron")
    jitter_seconds: float | None = Field(None, ge=0, description="Starts are later by up to this")
    missed: Literal["none", "latest", "all"] | None = Field(
        None, description="Which runs are made up for whose time passed while nobody looked"
    )
    overlap: Literal["skip", "queue", "replace"] | None = Field(
        None, description="What becomes of a run while an earlier one has not ended"
    )
    timeout_seconds: float | None = Field(None, gt=0, description="When a run is killed")
    options: dict[str, object] = Field(default={}, description="Given to the task")
    enabled: bool | None = Field(None, description="Whether it runs by itself, until one says so")

    @model_validator(mode="after")
    def _at_most_one_time(self) -> ScheduleOverride:
        if self.cron is not None and self.interval_seconds is not None:
            raise ValueError("give cron or interval_seconds, not both")
        return self


class TaskSettings(_Section):
    """A function of one's own that runs on a schedule."""

    task: str = Field(description="The function: package.module:name")
    cron: str | None = Field(None, description="Five fields: minute hour day month weekday")
    interval_seconds: float | None = Field(None, ge=1, description="Instead of cron")
    timezone: str | None = Field(None, description="IANA name, for cron; else maintenance.timezone")
    jitter_seconds: float = Field(0.0, ge=0, description="Starts are later by up to this")
    missed: Literal["none", "latest", "all"] = Field(
        "latest", description="Which runs are made up for whose time passed while nobody looked"
    )
    overlap: Literal["skip", "queue", "replace"] = Field(
        "skip", description="What becomes of a run while an earlier one has not ended"
    )
    timeout_seconds: float = Field(300.0, gt=0, description="When a run is killed")
    options: dict[str, object] = Field(default={}, description="Given to the function")
    enabled: bool = Field(True, description="Whether it runs by itself, until one says so")

    @model_validator(mode="after")
    def _one_time(self) -> TaskSettings:
        if (self.cron is None) == (self.interval_seconds is None):
            raise ValueError("give either cron or interval_seconds")
        return self


class MaintenanceSettings(_Section):
    """What runs when, and what each duty may do."""

    timezone: str = Field("UTC", description="IANA name; cron times are of this zone")
    concurrency: int = Field(2, ge=1, description="Runs at once")
    history: int = Field(1000, ge=1, description="Ended runs kept of each schedule")
    tasks: dict[str, TaskSettings] = Field(
        default={}, description="Functions of one's own, by the names of their schedules"
    )
    schedules: dict[str, ScheduleOverride] = Field(
        default={}, description="Changes of the built-in schedules, by their names"
    )
    index_optimization: IndexOptimizationSettings = IndexOptimizationSettings()  # pyright: ignore[reportCallIssue]
    cache_cleanup: CacheCleanupSettings = CacheCleanupSettings()  # pyright: ignore[reportCallIssue]
    document_cleanup: DocumentCleanupSettings = DocumentCleanupSettings()  # pyright: ignore[reportCallIssue]
    metrics_rollup: MetricsRollupSettings = MetricsRollupSettings()  # pyright: ignore[reportCallIssue]
    health_check: HealthCheckSettings = HealthCheckSettings()  # pyright: ignore[reportCallIssue]
    integrity_check: IntegrityCheckSettings = IntegrityCheckSettings()  # pyright: ignore[reportCallIssue]
