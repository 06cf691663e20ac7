"""`lexigram-ray search`: ask a collection."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.output import printable, say
from lexigram_ray.cli.stray import stdout_is_for_results

if TYPE_CHECKING:
    from rich.text import Text

    from lexigram_ray.jobs.searching import SearchReport
    from lexigram_ray.vectors.search import Hit

MOST_HITS = 10_000
LONGEST_TITLE = 80


def search(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for.")],
    *,
    collection: Annotated[
        str,
        typer.Option(
            "--collection",
            "-c",
            metavar="NAME",
            envvar=env("collection"),
            help="The collection to look in.",
        ),
    ],
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            max=MOST_HITS,
            metavar="N",
            envvar=env("limit"),
            help="Most hits.",
        ),
    ] = 10,
    mode: Annotated[
        Literal["hybrid", "vector", "text"],
        typer.Option("--mode", envvar=env("mode"), help="By meaning, by words, or both."),
    ] = "hybrid",
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="SQL",
            envvar=env("where"),
            help="Only rows for which this holds.",
        ),
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Find the passages of a collection that answer a question.

    Examples:
      lexigram-ray search "how are leases renewed" --collection papers
      lexigram-ray search "PEP 703" -c papers --mode text --limit 3
      lexigram-ray search "invoices" -c work --where "page = 1 AND source LIKE '%2024%'"
      lexigram-ray search "leases" -c papers --json | jq -r '.hits[].source'

    Columns for --where: id, document_id, source, title, text, chunk_index, page, char_start,
    char_end, headings, content_hash, metadata, job_id, created_at. A higher score is better.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    from lexigram_ray.cli.lean_pyarrow import import_pyarrow_without_pandas

    import_pyarrow_without_pandas()
    from lexigram_ray.jobs.searching import search_collection

    with stdout_is_for_results(lambda line: say(printable(line), label="output")):
        report = search_collection(
            settings, query, collection=collection, limit=limit, mode=mode, where=where
        )
    if invocation.json:
        invocation.answer(report.to_dict())
    else:
        _print_hits(report)


def _print_hits(report: SearchReport) -> None:
    from lexigram_ray.cli.output import console, count
    from lexigram_ray.cli.snippet import query_words

    words = query_words(report.query)
    out = console(sys.stdout)
    for rank, hit in enumerate(report.hits, start=1):
        out.print(_heading(rank, hit))
        out.print(_source(hit))
        out.print(_snippet(hit, words))
        out.print()
    hits = count(len(report.hits), "hit")
    say(f"{hits} in {report.collection}, {report.mode}, {report.took_ms:.0f} ms", label="found")


def _heading(rank: int, hit: Hit) -> Text:
    from rich.text import Text

    name = hit.title or hit.source.rsplit("/", 1)[-1]
    if len(name) > LONGEST_TITLE:
        name = f"{name[: LONGEST_TITLE - 1]}…"
    page = f" · page {hit.page}" if hit.page is not None else ""
    return Text.assemble(
        f"{rank:>2}. ", (printable(name), "bold"), page, (f" · {hit.score:.4f}", "green")
    )


def _source(hit: Hit) -> Text:
    from rich.text import Text

    return Text(f"    {printable(hit.source)}", style="dim")


def _snippet(hit: Hit, words: frozenset[str]) -> Text:
    from rich.text import Text

    from lexigram_ray.cli.output import is_terminal
    from lexigram_ray.cli.snippet import find_words, make_snippet

    snippet = printable(make_snippet(hit.text, words))
    text = Text(snippet)
    for start, end in find_words(snippet, words):
        text.stylize("bold yellow", start, end)
    if not is_terminal(sys.stdout):
        return Text.assemble("    ", text)
    from rich.console import Console

    width = max(20, Console(file=sys.stdout).width - 4)
    lines = text.wrap(Console(file=sys.stdout), width)
    return Text("\n").join(Text.assemble("    ", line) for line in lines)
