from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.embedding import devices
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.quantization import check_available, in_floats, in_int8
from tests.embedding_models import minilm

OWN = [f"our text {number}" for number in range(200)]


@pytest.fixture
def model(tmp_path: Path) -> LocalModel:
    return minilm(tmp_path, "bf16")


def _without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else found(name)
    )


def test_int8_and_floats_and_each_calibration_are_models_of_their_own(model):
    generic, own, other = in_int8(model), in_int8(model, OWN), in_int8(model, OWN[1:])

    revisions = {each.spec.revision for each in (model, generic, own, other)}

    assert len(revisions) == 4
    assert len({fingerprint(each.spec) for each in (model, generic, own, other)}) == 4
    assert {each.spec.precision for each in (generic, own, other)} == {"int8"}


def test_the_same_texts_are_the_same_model_and_repeats_count_once(model):
    assert in_int8(model, OWN).spec == in_int8(in_int8(model), [*OWN, *OWN]).spec


def test_of_many_texts_some_from_all_over_are_taken_along(model):
    taken = in_int8(model, OWN).calibration

    assert len(taken) == 64
    assert taken[0] == OWN[0]
    assert taken[-1] in OWN[-4:]


def test_an_int8_model_leads_back_to_its_floats(model):
    assert in_floats(in_int8(model, OWN), "bf16") == model


def test_the_generic_passages_never_change(model):
    # Vectors of int8 collections depend on them; better ones are a second set.
    assert in_int8(model).spec.revision.endswith("-int8-4d80d4438360")


def test_a_gpu_refuses_int8_before_any_work(model, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "computes_on_gpu", lambda: True)

    with pytest.raises(ConfigError, match="GPU"):
        check_available(in_int8(model), models_dir=tmp_path)
    with pytest.raises(ConfigError, match="GPU"):
        minilm(tmp_path, "int8")


@pytest.mark.parametrize(
    ("missing", "hint"), [("nncf", "lexigram-ray[int8]"), ("openvino", "pip install openvino")]
)
def test_what_int8_needs_and_is_missing_is_named_with_its_installation(
    tmp_path, monkeypatch, missing, hint
):
    monkeypatch.setattr(devices, "computes_on_gpu", lambda: False)
    _without(monkeypatch, missing)

    with pytest.raises(ConfigError, match=r"not installed") as caught:
        minilm(tmp_path, "int8")

    assert hint in (caught.value.hint or "")
