"""`WorkersConfig`: `ai_workers:` in application.yaml, with `LEX_AI_WORKERS__*` over it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from lexigram_ray.core.environment import ConfigIssue, Environment
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.maintenance_settings import MaintenanceSettings
from lexigram_ray.core.service_settings import ServiceSettings
from lexigram_ray.core.types import DEFAULT_MODEL

ENV_PREFIX = "LEX_AI_WORKERS__"
ENV_NESTED_DELIMITER = "__"
CONFIG_SECTION = "ai_workers"
DEFAULT_CONFIG_FILE = "application.yaml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """An OpenAI-compatible server that makes the vectors instead of this machine."""

    url: str | None = Field(None, description="Base URL, such as https://api.openai.com/v1")
    api_key: SecretStr | None = Field(None, description="Sent as a bearer token")
    api_key_file: Path | None = Field(None, description="A file that holds the key")
    dimensions: int | None = Field(None, ge=1, description="Asked of the server, if it can shorten")
    batch_texts: int = Field(256, ge=1, description="Most texts in a request")
    batch_tokens: int = Field(100_000, ge=1, description="Most estimated tokens in a request")
    concurrency: int = Field(8, ge=1, description="Requests at once")
    tokens_per_minute: int | None = Field(None, ge=1, description="The account's budget")
    max_text_tokens: int = Field(8191, ge=1, description="The model's limit of one text")
    timeout_seconds: float = Field(60.0, gt=0, description="A request's time limit")
    max_attempts: int = Field(8, ge=1, description="Tries of a request before its texts fail")


class EmbeddingSettings(_Section):
    """Which model makes the vectors, and how exactly."""

    model: str = Field(DEFAULT_MODEL, description="Model name, or the path of its folder")
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto", description="auto is the half precision that this machine computes in, else fp32"
    )
    dimensions: int | None = Field(
        None, ge=1, description="Keep only the first numbers of each vector, normalised again"
    )
    long_texts: Literal["truncate", "fail"] = Field(
        "truncate", description="What becomes of a text beyond the model's limit"
    )
    cache: bool = Field(True, description="Keep every vector by the hash of its text")
    batch_texts: int | None = Field(
        None, ge=1, description="Most texts in one call of a model here; else as many as there are"
    )
    server: ServerSettings = ServerSettings()  # pyright: ignore[reportCallIssue]


class ChunkingSettings(_Section):
    """How text is cut into chunks."""

    strategy: Literal["tokens", "characters"] = Field(
        "tokens", description="Count with the model's own tokenizer, or count characters"
    )
    size: int | None = Field(
        None, ge=1, description="Most tokens or characters in a chunk; the model's limit, or 1000"
    )
    overlap: int | None = Field(
        None, ge=0, description="Tokens or characters repeated from the chunk before; 0, or 200"
    )


class ParserSettings(_Section):
    """Limits of the process that parses documents."""

    timeout_seconds: float = Field(120.0, gt=0, description="A document's time limit")
    memory_mb: int = Field(4096, ge=512, description="Address space of the parser process")
    max_decoded_mb: int = Field(256, ge=1, description="Most megabytes after decompression")
    max_output_mb: int = Field(512, ge=1, description="Most megabytes of parsed text")
    recycle_after: int = Field(500, ge=1, description="Documents parsed before a fresh process")
    recycle_mb: int = Field(1024, ge=64, description="Resident memory before a fresh process")
    ocr: bool = Field(False, description="Read pictures with tesseract, when it is installed")
    ocr_language: str = Field("eng", description="tesseract's language code")


class JobSettings(_Section):
    """Leases and budgets of durable jobs."""

    lease_seconds: float = Field(60.0, gt=0, description="How long a claim holds without a beat")
    heartbeat_seconds: float = Field(10.0, gt=0, description="How often a claim is renewed")
    crash_budget: int = Field(3, ge=1, description="Worker deaths before a document is quarantined")
    unit_seconds: float = Field(
        900.0, gt=0, description="A document's or row range's time limit on a worker"
    )
    max_attempts: int = Field(
        5, ge=1, description="Attempts in a row that end in an error before a queued job fails"
    )
    concurrency: dict[str, int] = Field(
        default={"ingest": 1, "embed": 1},
        description="Queued jobs of each kind that run at once",
    )

    @model_validator(mode="after")
    def _beats_within_the_lease(self) -> JobSettings:
        if self.heartbeat_seconds >= self.lease_seconds:
            raise ValueError("heartbeat_seconds must be shorter than lease_seconds")
        return self


class DeadLetterSettings(_Section):
    """What becomes of failures once their job is over."""

    max_retries: int = Field(5, ge=0, description="Automatic retries of a failure")
    base_backoff_seconds: float = Field(60.0, gt=0, description="Wait before the first of them")
    max_backoff_seconds: float = Field(3600.0, gt=0, description="Longest wait between them")
    retention_days: float = Field(30.0, gt=0, description="How long closed ones are kept")
    webhook_url: SecretStr | None = Field(
        None, description="Is sent each failure that nobody retries"
    )
    webhook_seconds: float = Field(10.0, gt=0, description="Time limit of one such request")
    handler: str | None = Field(None, description="The same as a function: package.module:name")


class LoggingSettings(_Section):
    """The log of the actors and workers on Ray: lines in the files that Ray keeps of each."""

    format: Literal["text", "json"] = Field("text", description="Lines for people, or JSON Lines")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is logged"
    )


class RuntimeSettings(_Section):
    """Where the work runs."""

    inline_seconds: float = Field(
        10.0, ge=0, description="Jobs estimated shorter than this run without Ray"
    )
    workers: int | None = Field(None, ge=1, description="Ingestion workers; else from the CPUs")
    embedders: int | None = Field(
        None, ge=1, description="Most embedders of a bulk job; else one a GPU, or one a node"
    )
    embedder_gpus: float | None = Field(
        None, ge=0, description="GPUs that an embedder reserves; else nearly 1 where there are any"
    )


class WorkersConfig(BaseSettings):
    """Configuration of the workers.

    Read from the `ai_workers:` section of application.yaml in the working directory, with
    `LEX_AI_WORKERS__*` over it (`__` nests: `LEX_AI_WORKERS__PARSER__OCR=true`) and keyword
    arguments over both.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_NESTED_DELIMITER,
        extra="forbid",
        frozen=True,
    )
    config_file: ClassVar[Path] = Path(DEFAULT_CONFIG_FILE)
    config_section: ClassVar[str] = CONFIG_SECTION

    enabled: bool = Field(default=True, description="Master switch of all background workers")
    name: str = "ai_workers"
    env: Environment | None = Field(default=None, description="Deployment environment")
    # Read by the background workers; a run of the command line has no use for them.
    batch_embedding_concurrency: int = Field(
        default=3, ge=1, description="Batch embedding tasks at once"
    )
    document_ingestion_concurrency: int = Field(
        default=3, ge=1, description="Documents parsed at once"
    )
    enable_maintenance: bool = Field(default=True, description="Run the maintenance duties")
    dlq_check_interval: int = Field(
        default=60, ge=1, description="Seconds between dead-letter sweeps"
    )

    state_dir: Path = Field(
        validate_default=True,
        default_factory=lambda: default_state_dir(),  # noqa: PLW0108 - it is defined below
        description="Where all state is kept",
    )
    store_url: str | None = Field(
        default=None, description="SQLAlchemy URL; else SQLite in state_dir"
    )
    data_uri: str | None = Field(
        default=None, description="Collections, cache, payloads; else state_dir"
    )
    scratch_dir: Path | None = Field(default=None, description="Local scratch; else in state_dir")
    allowed_roots: Annotated[tuple[Path, ...] | None, NoDecode] = Field(
        default=None, description="Only paths below these are ingested; unset allows every path"
    )
    embedding: EmbeddingSettings = EmbeddingSettings()  # pyright: ignore[reportCallIssue]
    chunking: ChunkingSettings = ChunkingSettings()  # pyright: ignore[reportCallIssue]
    parser: ParserSettings = ParserSettings()  # pyright: ignore[reportCallIssue]
    jobs: JobSettings = JobSettings()  # pyright: ignore[reportCallIssue]
    dead_letters: DeadLetterSettings = DeadLetterSettings()  # pyright: ignore[reportCallIssue]
    runtime: RuntimeSettings = RuntimeSettings()  # pyright: ignore[reportCallIssue]
    logging: LoggingSettings = LoggingSettings()  # pyright: ignore[reportCallIssue]
    service: ServiceSettings = ServiceSettings()  # pyright: ignore[reportCallIssue]
    # What each duty may do: lexigram_ray/core/maintenance_settings.py.
    maintenance: MaintenanceSettings = MaintenanceSettings()  # pyright: ignore[reportCallIssue]

    @property
    def paths(self) -> StatePaths:
        """Where each kind of state lies."""
        return StatePaths(self)

    @property
    def readable_roots(self) -> tuple[Path, ...] | None:
        """Folders that documents of jobs may lie in, resolved; None allows every path.

        Uploads are among them, which nobody has named and this program has put there.
        """
        if self.allowed_roots is None:
            return None
        return (*self.allowed_roots, self.paths.uploads.resolve())

    def validate_for_environment(
        self, env: Environment | str | None = None, *, nodes: int = 1
    ) -> list[ConfigIssue]:
        """Return what of the configuration does not fit where it is to run, errors first.

        It looks at the settings, and at this machine's file systems and models; it starts nothing
        and asks nothing of the network.

        Args:
            env: `development`, `test`, `staging` or `production`; else `self.env`, else the first.
            nodes: Of the cluster that it is to run on.

        Raises:
            ConfigError: There is no such environment.
        """
        from lexigram_ray.core.environment_checks import issues_of

        return issues_of(self, env, nodes=nodes)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put keyword arguments over the environment over application.yaml."""
        section = InitSettingsSource(settings_cls, _read_section(cls.config_file))
        return init_settings, env_settings, section

    @field_validator("state_dir", "scratch_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        # Ray's workers run in other directories: a relative path would mean another place there.
        return _expanded(path).absolute() if path is not None else None

    @field_validator("data_uri")
    @classmethod
    def _local(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        if "://" in uri and not uri.startswith("file://"):
            raise ValueError("only a path or a file:// URI is supported")
        path = uri.removeprefix("file://")
        if not path:
            raise ValueError("an empty path would mean the working directory")
        return str(_expanded(Path(path)).absolute())

    @field_validator("state_dir", "scratch_dir", "data_uri", mode="before")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        if value == "":
            raise ValueError("an empty path would mean the working directory")
        return value

    @field_validator("allowed_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        roots = value.split(os.pathsep) if isinstance(value, str) else value
        if isinstance(roots, (list, tuple)) and any(str(root) == "" for root in roots):
            raise ValueError("an empty path would allow the working directory")
        return roots

    @field_validator("allowed_roots")
    @classmethod
    def _resolved(cls, roots: tuple[Path, ...] | None) -> tuple[Path, ...] | None:
        return tuple(_expanded(root).resolve() for root in roots) if roots is not None else None


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def load_config(file: Path | None = None, **overrides: object) -> WorkersConfig:
    """Read the configuration, and name what is wrong with it.

    Args:
        file: Instead of application.yaml in the working directory; must exist when given.
        overrides: Values over file and environment.

    Raises:
        ConfigError: A key is unknown or a value is wrong.
    """
    if file is not None and not file.is_file():
        raise ConfigError(f"no configuration file at {file}", hint="check the path of --config")
    unknown = list(_unknown_environment_keys(os.environ))
    if unknown:
        raise ConfigError(unknown[0], hint="unset it, or spell it as the nearest known key")
    settings = WorkersConfig if file is None else _reading(file)
    try:
        read = settings(**overrides)  # pyright: ignore[reportArgumentType]
    except SettingsError as error:
        raise ConfigError(
            str(error), hint="a section's variable holds JSON; name its settings with __ instead"
        ) from error
    except ValidationError as error:
        raise ConfigError(_first_problem(error), hint="see `lexigram-ray doctor`") from error
    # Always of the one importable class, so that it pickles to other processes.
    return WorkersConfig.model_construct(**dict(read))


def _reading(file: Path) -> type[WorkersConfig]:
    class FileConfig(WorkersConfig):
        config_file: ClassVar[Path] = file

    return FileConfig


def _read_section(file: Path) -> dict[str, object]:
    if not file.is_file():
        return {}
    try:
        document: object = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{file} cannot be read as YAML: {error}") from error
    if not isinstance(document, dict):
        return {}
    section = cast("dict[str, object]", document).get(CONFIG_SECTION) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"`{CONFIG_SECTION}:` in {file} must hold keys and values")
    return cast("dict[str, object]", section)


def _unknown_environment_keys(environ: Mapping[str, str]) -> Iterator[str]:
    # pydantic-settings lets unknown variables pass: a misspelt limit would silently not hold.
    known = sorted(_environment_keys(WorkersConfig, ENV_PREFIX))
    for key in sorted(environ):
        upper = key.upper()
        if upper.startswith(ENV_PREFIX) and upper not in known:
            yield f"unknown setting {key} in the environment{_nearest(upper, known)}"


def _environment_keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name.upper()}"
        yield key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _environment_keys(field.annotation, f"{key}{ENV_NESTED_DELIMITER}")


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        parent, _, name = where.rpartition(".")
        return f"unknown setting {where}{_nearest(name, _fields_of(parent))}"
    return f"setting {where}: {first['msg']}, got {first['input']!r}"


def _fields_of(parent: str) -> list[str]:
    annotation: object = WorkersConfig
    for part in filter(None, parent.split(".")):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[part].annotation
        else:
            # A section by names of the user's choice: `dict[str, Section]`.
            annotation = next(iter(get_args(annotation)[1:]), None)
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    return sorted(annotation.model_fields)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


class StatePaths:
    """The places inside the state directory, as other programs rely on them."""

    def __init__(self, config: WorkersConfig) -> None:
        data = Path(config.data_uri) if config.data_uri else config.state_dir
        self.root = config.state_dir
        self.store_url = config.store_url or f"sqlite:///{config.state_dir / 'jobs.db'}"
        self.lancedb = data / "lancedb"
        self.cache = data / "cache"
        self.payloads = data / "payloads"
        self.parsed = self.payloads / "parsed"
        self.staged = self.payloads / "staged"
        self.uploads = data / "uploads"
        self.models = config.state_dir / "models"
        self.logs = config.state_dir / "logs"
        self.scratch = config.scratch_dir or config.state_dir / "scratch"


def default_state_dir() -> Path:
    """Return `$XDG_DATA_HOME/lexigram-ray`, or its usual place under the home directory."""
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data_home) / "lexigram-ray"
