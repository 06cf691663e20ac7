from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lexigram_ray.core.errors import CollectionMismatchError
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from tests.collections_data import SETTINGS, STORE_ID


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    root: Path = tmp_path_factory.mktemp("lancedb")
    return Collections(root).create("docs", SETTINGS, STORE_ID)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_float_precisions_agree_with_each_other(collection: Collection, precision: str) -> None:
    collection.check_settings(replace(SETTINGS, precision=precision))


def test_int8_vectors_do_not_go_among_floats(collection: Collection) -> None:
    with pytest.raises(CollectionMismatchError, match="precision"):
        collection.check_settings(replace(SETTINGS, precision="int8"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model", "intfloat/e5-small-v2"),
        ("revision", "deadbeef"),
        ("dimension", 768),
        ("pooling", "cls"),
        ("chunker", "characters:1000:200"),
    ],
)
def test_another_setting_is_refused_with_both_values_and_a_way_out(
    collection: Collection, setting: str, value: object
) -> None:
    with pytest.raises(CollectionMismatchError) as refused:
        collection.check_settings(replace(SETTINGS, **{setting: value}))

    message = refused.value.message
    assert setting in message
    assert str(value) in message
    assert str(getattr(SETTINGS, setting)) in message
    assert refused.value.hint is not None
    assert "--collection" in refused.value.hint


def test_every_difference_is_named_at_once(collection: Collection) -> None:
    wanted = replace(SETTINGS, model="other/model", revision="1", chunker="tokens:100:10")
    with pytest.raises(CollectionMismatchError, match=r"model.*revision.*chunker"):
        collection.check_settings(wanted)


def test_a_chunker_mismatch_says_which_chunking_matches(collection: Collection) -> None:
    with pytest.raises(CollectionMismatchError) as refused:
        collection.check_settings(replace(SETTINGS, chunker="tokens:100:10"))
    assert refused.value.hint is not None
    assert "strategy tokens, size 254, overlap 0" in refused.value.hint
