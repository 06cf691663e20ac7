"""What a notebook shows: static, bounded, and nothing that a text can break out of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

from lexigram_ray.cli.embed_progress import EmbedMoment
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.embed_report import EmbedProgress
from lexigram_ray.jobs.searching import SearchReport
from lexigram_ray.notebook.bar import NotebookBar
from lexigram_ray.notebook.cards import ROWS_SHOWN, embed_card, hits_table
from lexigram_ray.notebook.results import SearchResult
from lexigram_ray.vectors.search import Hit
from tests.embed_reports import make_problem, make_report

EVIL = "<script>alert(1)</script>\x1b[31m"
VOID = {"br"}


class Outline(HTMLParser):
    """The tags of a page, each of them closed, and its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@dataclass
class Cell:
    """A cell's outputs, each as it was shown last."""

    outputs: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    drawn: int = 0

    def publish(self, content: Mapping[str, str]) -> Callable[[Mapping[str, str]], None]:
        place = len(self.outputs)
        self.outputs.append(content)
        self.drawn += 1

        def redraw(later: Mapping[str, str]) -> None:
            self.outputs[place] = later
            self.drawn += 1

        return redraw


def make_hit(rank: int, text: str = "A passage.") -> Hit:
    return Hit(
        id=f"d:{rank}",
        score=1 / rank,
        text=text,
        document_id="d",
        source=f"/faq.csv{EVIL}",
        title="",
        page=None,
        chunk_index=0,
        char_start=0,
        char_end=len(text),
        metadata={"colour": "red"},
    )


def make_search(*hits: Hit) -> SearchReport:
    return SearchReport(collection="faq", query=EVIL, mode="hybrid", took_ms=3.2, hits=hits)


def test_a_card_tells_counts_and_its_first_problems() -> None:
    problems = tuple(make_problem(f"{EVIL}, row {row}") for row in range(ROWS_SHOWN + 5))
    report = make_report(problems=problems, read=30, embedded=5, failed=25, notes=(EVIL,))
    page = Outline(embed_card(report))

    assert "done 30 texts read: 5 embedded, 25 failed" in page.words
    assert "1,000 rows in collection faq; 4.0 s, this process" in page.words
    assert "and 5 more: .problems" in page.words
    assert page.tags.count("tr") == ROWS_SHOWN + 1
    assert "script" not in page.tags
    assert "\x1b" not in page.words


def test_a_card_of_every_status_can_be_shown() -> None:
    words = [Outline(embed_card(make_report(status))).words for status in JobStatus]

    assert all("texts read: nothing to do" in text for text in words)


def test_hits_are_a_bounded_table_without_vectors() -> None:
    hits = [make_hit(rank, EVIL * 500) for rank in range(1, ROWS_SHOWN + 4)]
    page = Outline(hits_table(make_search(*hits)))

    assert page.tags.count("tr") == ROWS_SHOWN + 1
    assert "script" not in page.tags
    assert "23 hits in faq, hybrid, 3 ms" in page.words
    assert "and 3 more: .to_arrow()" in page.words
    assert len(page.words) < 500 * ROWS_SHOWN
    assert "table" not in Outline(hits_table(make_search())).tags


def test_hits_become_a_table_also_when_there_are_none() -> None:
    found = SearchResult(make_search(make_hit(1), make_hit(2))).to_arrow()
    nothing = SearchResult(make_search()).to_arrow()

    assert found["score"].to_pylist() == [1.0, 0.5]
    assert found["metadata"].to_pylist() == ['{"colour": "red"}'] * 2
    assert (nothing.num_rows, nothing.schema) == (0, found.schema)


def test_a_result_is_a_sequence_of_its_hits_with_a_short_repr() -> None:
    result = SearchResult(make_search(make_hit(1, "x" * 10_000), make_hit(2)))

    assert [hit.id for hit in result] == ["d:1", "d:2"]
    assert (len(result), result[1].id) == (2, "d:2")
    assert len(repr(result)) < 200


def test_a_bar_is_redrawn_in_place_a_few_times_a_second_and_its_end_stays() -> None:
    cell, now = Cell(), [0.0]
    moment = EmbedMoment(EmbedProgress(phase="embedding", texts_total=1000, characters_total=1000))
    with NotebookBar(cell.publish, lambda: now[0]) as bar:
        for tick in range(1, 1001):
            now[0] = tick / 100
            done = replace(moment.progress, texts_done=tick, characters_done=tick)
            bar.update(EmbedMoment(done))
        bar.say(EVIL, label="stopping")
    first, second = (Outline(output["text/html"]) for output in cell.outputs)

    assert 30 <= cell.drawn <= 45
    assert "1,000/1,000 texts" in first.words
    assert "progress" not in first.tags
    assert second.words.startswith("stopping: <script>")
    assert "1,000/1,000 texts" in cell.outputs[0]["text/plain"]
