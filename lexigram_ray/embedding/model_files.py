"""Which files of a model's folder make its vectors, in the layout of sentence-transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lexigram_ray.core.errors import ConfigError, ModelNotFoundError

WEIGHT_PATTERNS = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin")
FOLDER_HINT = (
    "the folder needs config.json, tokenizer.json and model.safetensors; "
    "sentence-transformers' `model.save(folder)` writes them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The files that were found.

    Attributes:
        root: The model's folder.
        transformer: The folder of weights and tokenizer; the root, but for old models.
        tokenizer: tokenizer.json.
        weights: One file, or the parts of one model.
        settings: Every other file that is read, in a fixed order.
        modules: The kinds of sentence-transformers' modules, in order; empty without them.
        pooling: The pooling module's configuration file, where there is one.
    """

    root: Path
    transformer: Path
    tokenizer: Path
    weights: tuple[Path, ...]
    settings: tuple[Path, ...]
    modules: tuple[str, ...]
    pooling: Path | None


def inspect_folder(root: Path, name: str) -> ModelFiles:
    """List the files of the model in `root`.

    Raises:
        ModelNotFoundError: A file without which it cannot be run is missing.
        ConfigError: A settings file is not JSON.
    """
    modules = _modules(root)
    transformer = root / next((path for kind, path in modules if kind == "Transformer"), "")
    pooling_folder = next((path for kind, path in modules if kind == "Pooling"), None)
    pooling = root / pooling_folder / "config.json" if pooling_folder is not None else None
    weights = _weights(transformer)
    missing = [
        what
        for what, found in (
            ("config.json", (transformer / "config.json").is_file()),
            ("tokenizer.json", (transformer / "tokenizer.json").is_file()),
            ("model.safetensors", bool(weights)),
        )
        if not found
    ]
    if missing:
        raise ModelNotFoundError(
            f"model {name}: {root} has no {' and no '.join(missing)}", hint=FOLDER_HINT
        )
    return ModelFiles(
        root=root,
        transformer=transformer,
        tokenizer=transformer / "tokenizer.json",
        weights=weights,
        settings=_settings(root, transformer, pooling),
        modules=tuple(kind for kind, _ in modules),
        pooling=pooling,
    )


def read_json(path: Path) -> dict[str, object]:
    """Read an object from a settings file; empty where the file is missing.

    Raises:
        ConfigError: The file holds something else.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a JSON object", hint=FOLDER_HINT)
    return cast("dict[str, object]", content)


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}", hint=FOLDER_HINT) from error


def _modules(root: Path) -> list[tuple[str, str]]:
    content = _load(root / "modules.json")
    if not isinstance(content, list):
        return []
    modules = [
        cast("dict[str, object]", module)
        for module in cast("list[object]", content)
        if isinstance(module, dict)
    ]
    return [(str(m.get("type", "")).rpartition(".")[2], str(m.get("path", ""))) for m in modules]


def _weights(transformer: Path) -> tuple[Path, ...]:
    found = (sorted(transformer.glob(pattern)) for pattern in WEIGHT_PATTERNS)
    return tuple(next((files for files in found if files), ()))


def _settings(root: Path, transformer: Path, pooling: Path | None) -> tuple[Path, ...]:
    candidates = [
        root / "modules.json",
        root / "config_sentence_transformers.json",
        transformer / "config.json",
        transformer / "tokenizer_config.json",
        *sorted(transformer.glob("sentence_*_config.json")),
    ]
    if pooling is not None:
        candidates.append(pooling)
    return tuple(path for path in candidates if path.is_file())
