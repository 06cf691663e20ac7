"""What `doctor` looks at. Every check is quick, starts nothing and keeps nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lexigram_ray.cli.output import byte_size
from lexigram_ray.core.errors import WorkerError

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig

Status = Literal["ok", "warn", "fail"]

OLDEST_PYTHON = (3, 11)
LEAST_MEMORY = 2 * 10**9
LEAST_FREE_DISK = 10**9
MATRIX_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx2")
# The write-ahead log of SQLite could lose a commit before these versions.
WAL_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding; `fix` is what to do about it, empty where there is nothing to do."""

    name: str
    status: Status
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object."""
        return asdict(self)


def machine_checks() -> Iterator[Check]:
    """Check what does not depend on the configuration."""
    yield _python()
    yield _package("ray", "ray", missing="fail")
    yield _cpu()
    yield _memory()
    yield _sqlite()
    yield _package("parser", "kreuzberg", missing="fail")
    yield _package("vectors", "pylance", missing="fail")


def configured_checks(config: WorkersConfig) -> Iterator[Check]:
    """Check what the configuration names."""
    from lexigram_ray.cli.store_checks import filesystem_check, store_check

    yield from _each(
        ("state", lambda: _state(config)),
        ("disk", lambda: _disk(config)),
        ("file system", lambda: filesystem_check(config)),
        ("store", lambda: store_check(config)),
        ("model", lambda: _model(config)),
        ("device", _device),
        ("ocr", lambda: _ocr(config)),
        ("allowed roots", lambda: _allowed_roots(config)),
    )


def config_check(load: Callable[[], WorkersConfig]) -> tuple[Check, WorkersConfig | None]:
    """Check the configuration itself, and return it when it is valid."""
    try:
        config = load()
    except WorkerError as error:
        return _failed("config", error), None
    return Check(name="config", status="ok", detail=f"valid, state in {config.state_dir}"), config


def _each(*checks: tuple[str, Callable[[], Check]]) -> Iterator[Check]:
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # noqa: BLE001 - what breaks a check is what it found
            yield _failed(name, error)


def _failed(name: str, error: Exception) -> Check:
    if isinstance(error, WorkerError):
        return Check(name=name, status="fail", detail=error.message, fix=error.hint or "")
    return Check(name=name, status="fail", detail=f"{type(error).__name__}: {error}")


def _python() -> Check:
    detail = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Check(
            name="python", status="fail", detail=detail, fix="install Python 3.11 or later"
        )
    return Check(name="python", status="ok", detail=detail)


def _package(name: str, distribution: str, *, missing: Status) -> Check:
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        fix = f"{sys.executable} -m pip install {distribution}"
        return Check(name=name, status=missing, detail=f"{distribution} is missing", fix=fix)
    return Check(name=name, status="ok", detail=f"{distribution} {version}")


def _cpu() -> Check:
    from lexigram_ray.embedding.devices import available_cpus

    flags = _cpu_flags()
    fast = next((flag for flag in MATRIX_INSTRUCTIONS if flag in flags), None)
    detail = f"{available_cpus()} cores, {fast or 'no matrix instructions known'}"
    return Check(name="cpu", status="ok", detail=detail)


def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").partition(":")[2].split())


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{byte_size(memory.available)} of {byte_size(memory.total)} free"
    if memory.available < LEAST_MEMORY:
        fix = f"free memory: an ingestion wants {byte_size(LEAST_MEMORY)}"
        return Check(name="memory", status="warn", detail=detail, fix=fix)
    return Check(name="memory", status="ok", detail=detail)


def _sqlite() -> Check:
    version = sqlite3.sqlite_version_info
    fixed = any(version[:2] == safe[:2] and version >= safe for safe in WAL_FIXED)
    if fixed or version > max(WAL_FIXED):
        return Check(name="sqlite", status="ok", detail=sqlite3.sqlite_version)
    note = "its write-ahead log may lose a commit, so the rollback journal is used"
    return Check(name="sqlite", status="ok", detail=f"{sqlite3.sqlite_version}: {note}")


def _state(config: WorkersConfig) -> Check:
    folder = _nearest_existing(config.state_dir)
    made = "" if folder == config.state_dir else ", made by the first ingest"
    try:
        # Rights do not tell: root may write anywhere, but not on a read-only file system.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        return Check(
            name="state",
            status="fail",
            detail=f"{config.state_dir} cannot be written: {folder}: {reason}",
            fix="set --state to a folder that you may write to",
        )
    return Check(name="state", status="ok", detail=f"{config.state_dir} is writable{made}")


def _disk(config: WorkersConfig) -> Check:
    free = shutil.disk_usage(_nearest_existing(config.state_dir)).free
    detail = f"{byte_size(free)} free at {config.state_dir}"
    if free < LEAST_FREE_DISK:
        return Check(
            name="disk", status="warn", detail=detail, fix="free some space, or move --state"
        )
    return Check(name="disk", status="ok", detail=detail)


def _model(config: WorkersConfig) -> Check:
    from lexigram_ray.embedding.models import describe_model

    # The hub's client reads this when it is imported: looking must not become a download.
    os.environ["HF_HUB_OFFLINE"] = "1"
    settings, models_dir = config.embedding, config.paths.models
    with tempfile.TemporaryDirectory() as scratch:
        model = describe_model(
            settings.model,
            precision=settings.precision,
            models_dir=models_dir if models_dir.is_dir() else Path(scratch),
        )
    spec = model.spec
    detail = (
        f"{spec.name}, {spec.dimension} dimensions, {spec.max_tokens} tokens, {spec.precision}, "
        f"in {model.folder}"
    )
    if not _is_converted(models_dir):
        detail += "; converted at the first ingest"
    return Check(name="model", status="ok", detail=detail)


def _is_converted(models_dir: Path) -> bool:
    return any(models_dir.glob("*/*.xml"))


def _device() -> Check:
    try:
        version = importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return Check(
            name="device", status="warn", detail="torch only", fix="pip install openvino is faster"
        )
    from lexigram_ray.embedding.devices import has_nvidia_gpu

    gpus = _gpus() if has_nvidia_gpu() else []
    if gpus:
        return Check(name="device", status="ok", detail=f"{', '.join(gpus)} by torch")
    return Check(name="device", status="ok", detail=f"CPU by openvino {version}")


def _gpus() -> Sequence[str]:
    # Asking torch would take seconds; the driver's own tool answers at once.
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except subprocess.TimeoutExpired:
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def _ocr(config: WorkersConfig) -> Check:
    tesseract = shutil.which("tesseract")
    if not config.parser.ocr:
        there = "tesseract is installed" if tesseract else "tesseract is not installed"
        return Check(name="ocr", status="ok", detail=f"off; {there} (--ocr reads pictures)")
    if tesseract is None:
        fix = "install tesseract-ocr, or ingest with --no-ocr"
        return Check(name="ocr", status="fail", detail="on, but no tesseract in PATH", fix=fix)
    language = config.parser.ocr_language
    return Check(name="ocr", status="ok", detail=f"on, {language}, {tesseract}")


def _allowed_roots(config: WorkersConfig) -> Check:
    roots = config.allowed_roots
    if roots is not None:
        return Check(name="allowed roots", status="ok", detail=", ".join(map(str, roots)))
    serious = config.env == "production"
    return Check(
        name="allowed roots",
        status="warn" if serious else "ok",
        detail="unset: every path that this user may read can be ingested",
        fix="set allowed_roots in application.yaml" if serious else "",
    )


def _nearest_existing(path: Path) -> Path:
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))
