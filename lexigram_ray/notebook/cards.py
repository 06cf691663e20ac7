"""HTML for notebooks: small, static, readable on a light and a dark page, without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from lexigram_ray.cli.embed_summary import outcomes
from lexigram_ray.cli.ingest_summary import HEADLINES
from lexigram_ray.cli.output import count, duration, printable
from lexigram_ray.cli.snippet import make_snippet, query_words
from lexigram_ray.core.types import JobStatus

if TYPE_CHECKING:
    from lexigram_ray.cli.moment import Moment
    from lexigram_ray.jobs.embed_report import EmbedReport
    from lexigram_ray.jobs.report import Problem
    from lexigram_ray.jobs.searching import SearchReport
    from lexigram_ray.vectors.search import Hit

ROWS_SHOWN = 20
CARD = "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:.6em .9em;max-width:60em"
DIM = "opacity:.65"
LEFT = "text-align:left;vertical-align:top;white-space:normal"
COLOURS = {"green": "#2a8a3e", "yellow": "#b07d00", "red": "#c62828"}


def embed_card(report: EmbedReport) -> str:
    """Return an embedding job's counts and, if there are any, its first problems."""
    word, style = HEADLINES[report.status]
    if report.status is JobStatus.COMPLETED and report.texts.failed:
        style = "yellow"
    texts = count(report.texts.read, "text")
    told = ", ".join(outcomes(report)) or "nothing to do"
    lines = [
        f'<b style="color:{COLOURS[style]}">{word}</b> {texts} read: {told}',
        f"{count(report.rows, 'row')} in collection <b>{escape(report.collection)}</b>; "
        f"{duration(report.duration_seconds)}{_place(report)}",
    ]
    if report.truncated:
        cut = count(report.truncated, "text")
        lines.append(f"{cut} longer than the model takes, embedded without the end")
    lines += [f"<b>note</b> {safe(note)}" for note in report.notes]
    lines.append(f'<span style="{DIM}">job {escape(report.job_id)}</span>')
    return card(lines, _problems(report.problems))


def hits_table(report: SearchReport) -> str:
    """Return the best hits, a passage of each, and no vectors."""
    words = query_words(report.query)
    shown = report.hits[:ROWS_SHOWN]
    rows = [
        (str(rank), f"{hit.score:.4f}", _name(hit), safe(make_snippet(hit.text, words)))
        for rank, hit in enumerate(shown, start=1)
    ]
    found = f"{count(len(report.hits), 'hit')} in {report.collection}, {report.mode}"
    caption = f"<b>{safe(report.query)}</b> · {safe(found)}, {report.took_ms:.0f} ms"
    table = table_html(("", "score", "source", "text"), rows) if rows else ""
    return f"<div>{caption}{table}{more_html(len(report.hits), len(shown), '.to_arrow()')}</div>"


def bar_html(moment: Moment, per_second: float, seconds: float, *, over: bool) -> str:
    """Return a moment as a bar and words; `over` leaves the bar out."""
    parts = [*moment.counts(per_second), duration(seconds)]
    if moment.seconds_remaining and not over:
        parts.append(f"about {duration(moment.seconds_remaining)} left")
    bar = ""
    if moment.fraction is not None and not over:
        bar = f'<progress value="{moment.fraction:.4f}" max="1"></progress> {moment.fraction:.0%} '
    return f"<div>{bar}<b>{safe(moment.title)}</b> {safe(' · '.join(parts))}</div>"


def card(lines: Sequence[str], below: str) -> str:
    """Return a card of lines, and of what stands below them; all of it is HTML already."""
    return f'<div style="{CARD}">{"<br>".join(lines)}{below}</div>'


def message_html(label: str, text: str) -> str:
    """Return a message."""
    return f"<div><b>{safe(label)}:</b> {safe(text)}</div>"


def more_html(total: int, shown: int, where: str) -> str:
    """Return how many rows a table leaves out, and where they are; nothing where it has all."""
    if total <= shown:
        return ""
    return f'<span style="{DIM}">and {total - shown:,} more: <code>{where}</code></span>'


def table_html(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are HTML already."""
    head = "".join(f'<th style="{LEFT}">{header}</th>' for header in headers)
    body = "".join(
        "<tr>" + "".join(f'<td style="{LEFT}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f'<table style="color:inherit"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def safe(text: str) -> str:
    """Return text as HTML that neither a tag nor a control character can break out of."""
    return escape(printable(text))


def _place(report: EmbedReport) -> str:
    return f", {escape(report.place)}" if report.place else ""


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    shown = problems[:ROWS_SHOWN]
    rows = [(safe(p.code), safe(p.source), safe(p.reason)) for p in shown]
    table = table_html(("code", "row", "reason"), rows)
    return f"{table}{more_html(len(problems), len(shown), '.problems')}"


def _name(hit: Hit) -> str:
    name = safe(hit.title or hit.source.rsplit("/", 1)[-1])
    page = f" · page {hit.page}" if hit.page is not None else ""
    return f'<span title="{safe(hit.source)}">{name}{page}</span>'
