"""Errors of torch, tokenizers, transformers, openvino, safetensors, numpy and pydantic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydantic
import torch

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.embedding.openvino_import import import_openvino
from tests.integration.provoking.catalog import INVALID_INPUT, PERMANENT, TRANSIENT, cases


def _tokenizer_bad(folder: Path) -> object:
    from tokenizers import Tokenizer

    (folder / "tokenizer.json").write_text('{"version": ')
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def _tokenizer_missing(folder: Path) -> object:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def _model_missing(folder: Path) -> object:
    from transformers import AutoModel

    return AutoModel.from_pretrained(str(folder), local_files_only=True)


def _model_of_unknown_kind(folder: Path) -> object:
    from transformers import AutoModel

    (folder / "config.json").write_text(json.dumps({"model_type": "nothing_known"}))
    return AutoModel.from_pretrained(str(folder), local_files_only=True)


def _no_such_repository(folder: Path) -> object:
    from huggingface_hub import hf_hub_download

    return hf_hub_download("a/b/c", "config.json")


def _not_in_cache(folder: Path) -> object:
    from huggingface_hub import hf_hub_download

    return hf_hub_download("a/b", "config.json", cache_dir=folder, local_files_only=True)


def _weights_bad(folder: Path) -> object:
    from safetensors.torch import load_file

    (folder / "model.safetensors").write_bytes(b"\x08" + b"\0" * 7 + b"no json!")
    return load_file(folder / "model.safetensors")


def _weights_half(folder: Path) -> object:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-50])
    return load_file(path)


def _checkpoint_bad(folder: Path) -> object:
    (folder / "model.bin").write_bytes(b"no checkpoint")
    return torch.load(folder / "model.bin", weights_only=True)


def _openvino_missing(folder: Path) -> object:
    return import_openvino().Core().read_model(folder / "model.xml")


def _openvino_bad(folder: Path) -> object:
    (folder / "model.xml").write_text("<net")
    return import_openvino().Core().read_model(folder / "model.xml")


def _openvino_device(folder: Path) -> object:
    core = import_openvino().Core()
    return core.get_property("NOTHING", "FULL_DEVICE_NAME")


class _Row(pydantic.BaseModel):
    number: int


def _other_weights(folder: Path) -> object:
    return torch.nn.Linear(3, 4).load_state_dict({"weight": torch.zeros(5, 5)})


CASES = [
    *cases(
        TRANSIENT,
        torch_out_of_memory=lambda _: torch.empty(1 << 45, dtype=torch.float32),
        numpy_out_of_memory=lambda _: np.empty(1 << 60, np.uint8),
    ),
    *cases(
        PERMANENT,
        torch_shapes=lambda _: torch.zeros(2, 3) @ torch.zeros(4, 5),
        torch_dtype=lambda _: torch.zeros(2, 3) @ torch.zeros(3, 2, dtype=torch.int64),
        torch_cat=lambda _: torch.cat([torch.zeros(2, 3), torch.zeros(2, 4)]),
        torch_reshape=lambda _: torch.zeros(2, 3).reshape(5, 5),
        torch_no_gpu=lambda _: torch.zeros(1, device="cuda"),
        torch_weights=_other_weights,
        numpy_shapes=lambda _: np.zeros((2, 3)) @ np.zeros((4, 5)),
        numpy_broadcast=lambda _: np.zeros(3) + np.zeros(4),
        numpy_reshape=lambda _: np.zeros(6).reshape(4, 4),
        tokenizer_bad=_tokenizer_bad,
        tokenizer_missing=_tokenizer_missing,
        model_missing=_model_missing,
        model_of_unknown_kind=_model_of_unknown_kind,
        repository_name=_no_such_repository,
        not_in_cache=_not_in_cache,
        weights_bad=_weights_bad,
        weights_half=_weights_half,
        checkpoint_bad=_checkpoint_bad,
        openvino_missing=_openvino_missing,
        openvino_bad=_openvino_bad,
        openvino_device=_openvino_device,
        config_key=lambda _: WorkersConfig(nothing=1),  # pyright: ignore
        pydantic_type=lambda _: _Row(number="x"),  # pyright: ignore
    ),
    *cases(INVALID_INPUT, number=lambda _: float("ten"), date=lambda _: _date()),
]


def _date() -> object:
    from datetime import datetime

    return datetime.fromisoformat("yesterday")
