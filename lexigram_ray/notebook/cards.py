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
    lines += [f"<b>note</b> {_safe(note)}" for note in report.notes]
    lines.append(f'<span style="{DIM}">job {escape(report.job_id)}</span>')
    return f'<div style="{CARD}">{"<br>".join(lines)}{_problems(report.problems)}</div>'


def hits_table(report: SearchReport) -> str:
    """Return the best hits, a passage of each, and no vectors."""
    words = query_words(report.query)
    shown = report.hits[:ROWS_SHOWN]
    rows = [
        (str(rank), f"{hit.score:.4f}", _name(hit), _safe(make_snippet(hit.text, words)))
        for rank, hit in enumerate(shown, start=1)
    ]
    found = f"{count(len(report.hits), 'hit')} in {report.collection}, {report.mode}"
    caption = f"<b>{_safe(report.query)}</b> · {_safe(found)}, {report.took_ms:.0f} ms"
    table = _table(("", "score", "source", "text"), rows) if rows else ""
    return f"<div>{caption}{table}{_more(len(report.hits), len(shown), '.to_arrow()')}</div>"


def bar_html(moment: Moment, per_second: float, seconds: float, *, over: bool) -> str:
    """Return a moment as a bar and words; `over` leaves the bar out."""
    parts = [*moment.counts(per_second), duration(seconds)]
    if moment.seconds_remaining and not over:
        parts.append(f"about {duration(moment.seconds_remaining)} left")
    bar = ""
    if moment.fraction is not None and not over:
        bar = f'<progress value="{moment.fraction:.4f}" max="1"></progress> {moment.fraction:.0%} '
    return f"<div>{bar}<b>{_safe(moment.title)}</b> {_safe(' · '.join(parts))}</div>"


def message_html(label: str, text: str) -> str:
    """Return a message."""
    return f"<div><b>{_safe(label)}:</b> {_safe(text)}</div>"


def _place(report: EmbedReport) -> str:
    return f", {escape(report.place)}" if report.place else ""


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    shown = problems[:ROWS_SHOWN]
    rows = [(_safe(p.code), _safe(p.source), _safe(p.reason)) for p in shown]
    table = _table(("code", "row", "reason"), rows)
    return f"{table}{_more(len(problems), len(shown), '.problems')}"


def _more(total: int, shown: int, where: str) -> str:
    if total <= shown:
        return ""
    return f'<span style="{DIM}">and {total - shown:,} more: <code>{where}</code></span>'


def _name(hit: Hit) -> str:
    name = _safe(hit.title or hit.source.rsplit("/", 1)[-1])
    page = f" · page {hit.page}" if hit.page is not None else ""
    return f'<span title="{_safe(hit.source)}">{name}{page}</span>'


def _table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th style="{LEFT}">{header}</th>' for header in headers)
    body = "".join(
        "<tr>" + "".join(f'<td style="{LEFT}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _safe(text: str) -> str:
    return escape(printable(text))
