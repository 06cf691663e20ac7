from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lexigram_ray.core.errors import EmbeddingError, TextsRefusedError
from lexigram_ray.embedding import devices
from lexigram_ray.embedding.engine import LocalProvider, load_provider
from lexigram_ray.embedding.models import describe_model
from lexigram_ray.embedding.openvino_engine import OpenVinoBackend
from tests.embedding_models import minilm, models_dir, real_texts

__all__ = ["models_dir"]

TEXTS = real_texts(100)
MIN_COSINE = 0.999


def _cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", ours.astype(np.float64), theirs.astype(np.float64))


@pytest.fixture(scope="module")
def provider(models_dir: Path) -> LocalProvider:
    return load_provider(minilm(models_dir), models_dir=models_dir, threads=2)


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    from lexigram_ray.embedding.model_sources import packaged_folder

    model = SentenceTransformer(str(packaged_folder()), device="cpu")
    return model.encode(TEXTS, batch_size=32, normalize_embeddings=True)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "torch"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_vectors_equal_those_of_sentence_transformers(models_dir, reference, backend, precision):
    model = minilm(models_dir, precision)
    ours = load_provider(model, models_dir=models_dir, threads=2, backend=backend)

    # Where the CPU has no bf16, it is emulated: some hundred times slower by OpenVINO.
    is_emulated = precision == "bf16" and not devices.cpu_has_bf16()
    chosen = slice(None, None, 25 if is_emulated else 1)
    cosines = _cosines(ours.embed_texts(TEXTS[chosen]), reference[chosen])

    print(f"{backend} {precision}: cosine min {cosines.min():.6f}, mean {cosines.mean():.6f}")
    assert cosines.min() >= MIN_COSINE


@pytest.mark.slow
def test_torch_and_openvino_agree(models_dir, provider):
    torch = load_provider(minilm(models_dir), models_dir=models_dir, threads=2, backend="torch")

    cosines = _cosines(provider.embed_texts(TEXTS[:40]), torch.embed_texts(TEXTS[:40]))

    assert cosines.min() >= 0.99999


def test_vectors_are_float32_of_length_one(provider):
    vectors = provider.embed_texts(TEXTS[:5])

    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_order_is_kept_and_repeats_are_equal(provider):
    texts = ["short", TEXTS[0], "short", TEXTS[1], "", TEXTS[0]]

    vectors = provider.embed_texts(texts)

    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[1], vectors[5])
    alone = np.stack([provider.embed_texts([text])[0] for text in texts])
    assert _cosines(vectors, alone).min() >= 0.9999


def test_a_query_is_embedded_like_a_document_where_there_are_no_prompts(provider):
    query = provider.embed_query("how do I undo a commit?")

    assert query.shape == (384,)
    assert query @ provider.embed_texts(["how do I undo a commit?"])[0] >= 0.9999


def test_no_texts_are_no_vectors(provider):
    assert provider.embed_texts([]).shape == (0, 384)


def test_empty_and_huge_texts_have_vectors_and_the_cut_ones_are_counted(provider):
    huge = "word " * 200_000

    counted = provider.embed_counted(["", " \n", huge, "fine", "\0", huge])

    assert np.isfinite(counted.vectors).all()
    assert counted.truncated == 2


def test_the_count_of_cut_texts_is_exact_in_every_thread(provider):
    counts: dict[int, int] = {}

    def work(number: int) -> None:
        texts = [f"{number} {place} " + "word " * 300 for place in range(number)]
        counts[number] = provider.embed_counted([*texts, "short"]).truncated

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == {number: number for number in range(5)}


def test_where_long_texts_fail_they_are_refused_and_the_others_have_vectors(models_dir, provider):
    strict = load_provider(minilm(models_dir), models_dir=models_dir, threads=2, long_texts="fail")
    long = "word " * 300

    with pytest.raises(TextsRefusedError) as caught:
        strict.embed_texts([long, "fine", long])

    assert set(caught.value.reasons) == {0, 2}
    assert caught.value.reasons[2] == "it has 302 tokens, and the model reads 256"
    assert caught.value.vectors[1] @ provider.embed_texts(["fine"])[0] >= 0.9999
    assert np.isfinite(strict.embed_query(long)).all()


def test_more_texts_than_a_window_come_out_in_order(provider):
    texts = [f"number {number}" for number in range(2500)]

    vectors = provider.embed_texts(texts)

    some = [0, 1, 999, 2047, 2048, 2499]
    alone = provider.embed_texts([texts[place] for place in some])
    assert _cosines(vectors[some], alone).min() >= 0.9999


def test_a_bad_text_among_good_ones_is_refused_and_they_have_their_vectors(provider):
    with pytest.raises(TextsRefusedError, match="text 3 of 4: it is not valid Unicode") as caught:
        provider.embed_texts(["good", "word " * 300, "good", "\ud800"])

    alone = provider.embed_texts(["good", "word " * 300])
    assert _cosines(caught.value.vectors[:2], alone).min() >= 0.9999
    assert not caught.value.vectors[3].any()
    assert caught.value.truncated == 1
    with pytest.raises(EmbeddingError, match="not valid Unicode"):
        provider.embed_query("\ud800")


def test_threads_may_share_a_provider(provider):
    texts = [TEXTS[start : start + 10] for start in range(0, 40, 10)]
    results: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        results[number] = provider.embed_texts(texts[number])
        provider.embed_query(texts[number][0])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, block in enumerate(texts):
        assert _cosines(results[number], provider.embed_texts(block)).min() >= 0.9999


class _NanFor(OpenVinoBackend):
    """A real backend whose model breaks down at one row, as some do in half precision."""

    def __init__(self, backend: OpenVinoBackend, row: int) -> None:
        self._real = backend
        self._row = row

        self.streams = backend.streams

    def run(self, batches, done, *, pooling) -> None:
        def spoiled(batch, pooled) -> None:
            pooled = pooled.copy()
            pooled[batch.rows == self._row] = np.nan
            done(batch, pooled)

        self._real.run(batches, spoiled, pooling=pooling)


def test_a_vector_that_is_not_finite_refuses_its_text_and_every_repeat_of_it(models_dir, provider):
    broken = LocalProvider(minilm(models_dir), _NanFor(provider._backend, row=1))

    with pytest.raises(TextsRefusedError, match="not finite") as caught:
        broken.embed_texts(["a", "a", "b", "c", "b"])

    assert set(caught.value.reasons) == {2, 4}
    rest = [0, 1, 3]
    alone = provider.embed_texts(["a", "a", "c"])
    assert _cosines(caught.value.vectors[rest], alone).min() >= 0.9999


def test_an_error_while_results_are_taken_comes_out_and_the_backend_goes_on(provider):
    def failing(batch, pooled) -> None:
        raise KeyError("no room")

    def batches() -> Iterator[object]:
        from lexigram_ray.embedding.batching import token_batches

        ids = [np.array([101, 2023, 102], np.int32)] * 6
        yield from token_batches(ids, np.arange(6), budget=3, pad_id=0)

    with pytest.raises(KeyError, match="no room"):
        provider._backend.run(batches(), failing, pooling="mean")

    assert np.isfinite(provider.embed_texts(["good"])).all()


def test_once_converted_a_process_embeds_without_torch(models_dir, provider):
    code = (
        "import sys; from pathlib import Path\n"
        "from lexigram_ray.embedding.engine import load_provider\n"
        "from lexigram_ray.embedding.models import describe_model\n"
        f"models_dir = Path({str(models_dir)!r})\n"
        "model = describe_model('all-MiniLM-L6-v2', precision='fp32', models_dir=models_dir)\n"
        "provider = load_provider(model, models_dir=models_dir)\n"
        "print(provider.embed_query('hello').shape, provider.embed_texts(['a', 'b']).shape)\n"
        "print(sorted({'torch', 'transformers', 'lance', 'ray', 'pydantic'} & set(sys.modules)))"
    )

    # Several times: an engine that is not at rest after its last call aborts some of its processes.
    for _ in range(5):
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert shown.stdout.splitlines() == ["(384,) (2, 384)", "[]"]


def test_openvino_neither_reports_home_nor_writes_there(models_dir, provider, tmp_path):
    code = (
        "import sys\n"
        "from lexigram_ray.embedding.openvino_import import import_openvino\n"
        "openvino = import_openvino()\n"
        "openvino.Core(), openvino.convert_model\n"
        "print(sys.modules['openvino_telemetry'], 'openvino_telemetry.main' in sys.modules)"
    )
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert shown.stdout.split() == ["None", "False"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_vectors_cut_to_fewer_dimensions_equal_those_of_sentence_transformers(
    models_dir, reference, backend
):
    model = describe_model(
        "all-MiniLM-L6-v2", precision="fp32", models_dir=models_dir, dimensions=96
    )
    ours = load_provider(model, models_dir=models_dir, threads=2, backend=backend)
    texts = TEXTS[:20]

    vectors = ours.embed_texts(texts)

    theirs = reference[:20, :96] / np.linalg.norm(reference[:20, :96], axis=1, keepdims=True)
    assert vectors.shape == (20, 96)
    assert _cosines(vectors, theirs).min() >= MIN_COSINE
    assert ours.embed_query(texts[0]) @ vectors[0] >= 0.9999


def test_fewer_dimensions_need_no_conversion_of_their_own(models_dir, provider):
    before = sorted(path.name for path in models_dir.iterdir())
    model = describe_model(
        "all-MiniLM-L6-v2", precision="fp32", models_dir=models_dir, dimensions=64
    )

    load_provider(model, models_dir=models_dir, threads=2)

    assert sorted(path.name for path in models_dir.iterdir()) == before
