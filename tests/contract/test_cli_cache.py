"""`lexigram-ray cache`: what other programs and people see of the embedding cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexigram_ray.core.ids import hash_text
from lexigram_ray.embedding.cache import EmbeddingCache, days_now
from lexigram_ray.embedding.named_vectors import NAMED_FILE, NamedVectors
from tests.command_line import Result, Terminal, run_cli
from tests.fakes import HashingProvider

SMALL, LARGE = HashingProvider(8), HashingProvider(32)


def _put(state: Path, provider: HashingProvider, count: int, prefix: str, *, ago: int = 0) -> None:
    cache = EmbeddingCache(state / "cache", provider.spec, today=lambda: days_now() - ago)
    texts = [f"{prefix} {number}" for number in range(count)]
    hashes = [hash_text(text) for text in texts]
    cache.lookup(hashes)
    cache.put(hashes, provider.embed_texts(texts))
    cache.close()


def _items(result: Result) -> list[dict[str, object]]:
    items = result.object["items"]
    assert isinstance(items, list)
    return items


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two models: 30 texts of the small one, half of them old and written twice; 5 of the other."""
    state = tmp_path / "state"
    _put(state, SMALL, 15, "old", ago=200)
    _put(state, SMALL, 15, "old", ago=200)
    _put(state, SMALL, 15, "new")
    _put(state, LARGE, 5, "new")
    return state


def test_show_lists_models_with_their_size_and_hit_rate(state: Path) -> None:
    shown = run_cli("cache", "show", "--json", state=state)

    assert shown.code == 0
    assert set(shown.object) == {"items", "next"}
    large, small = _items(shown)
    assert (large["model"], large["rows"], large["distinct"]) == (LARGE.spec.name, 5, 5)
    assert (small["model"], small["rows"], small["distinct"]) == (SMALL.spec.name, 45, 30)
    assert (small["lookups"], small["hits"], small["hit_rate"]) == (45, 15, 0.3333)
    table = run_cli("cache", "show", state=state)
    assert "33% of 45 look-ups" in table.stdout
    assert table.stderr == ""


def test_clean_removes_what_is_unused_and_repeated_and_a_dry_run_only_says_so(state: Path) -> None:
    options = ("cache", "clean", "--unused-for", "90d")

    planned = run_cli(*options, "--dry-run", "--json", state=state)
    cleaned = run_cli(*options, "--json", state=state)

    for result in (planned, cleaned):
        assert result.code == 0
        small = next(item for item in _items(result) if item["model"] == SMALL.spec.name)
        assert (small["rows_before"], small["rows_after"]) == (45, 15)
        assert (small["repeated"], small["expired"]) == (15, 15)
    assert planned.object["dry_run"] is True
    assert [item["rows"] for item in _items(run_cli("cache", "show", "--json", state=state))] == [
        5,
        15,
    ]


def test_clear_without_a_terminal_needs_yes_and_counts_first(state: Path) -> None:
    asked = run_cli("cache", "clear", state=state)
    assert (asked.code, asked.stdout) == (2, "")
    assert "35 vectors" in asked.stderr

    one = run_cli("cache", "clear", "--model", SMALL.spec.name, "--yes", "--json", state=state)
    rest = run_cli("cache", "clear", "--yes", state=state)

    assert one.object["texts"] == 30
    assert rest.stdout.startswith("cleared 5 vectors")
    assert _items(run_cli("cache", "show", "--json", state=state)) == []


def test_clear_asks_in_a_terminal_and_no_is_no(state: Path) -> None:
    terminal = Terminal(["cache", "clear"], state=state)
    try:
        terminal.read_until("clear the cache?")
        terminal.type("n\n")
        screen = terminal.read_to_end()
    finally:
        terminal.close()

    assert "35 vectors" in screen
    assert "nothing was cleared" in screen
    assert len(_items(run_cli("cache", "show", "--json", state=state))) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("clean", "--unused-for", "soon"), "90d"),
        (("clean", "--max-size", "5 pounds"), "5GB"),
        (("clear", "--model", "fake/hashing", "--yes"), "did you mean fake/hashing-"),
    ],
)
def test_wrong_use_names_the_way_out(state: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run_cli("cache", *arguments, state=state)

    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr


def test_an_empty_cache_is_no_error_and_nothing_is_made(tmp_path: Path) -> None:
    state = tmp_path / "state"

    for command in (("show",), ("clean",), ("clear", "--yes")):
        result = run_cli("cache", *command, state=state)
        assert (result.code, result.stdout) == (0, "")
        assert "empty" in result.stderr
    assert not state.exists()


def test_a_cache_that_cannot_be_read_is_cleared_by_its_id(state: Path) -> None:
    cache = state / "cache"
    (cache / f"{'ab' * 16}.lance").mkdir()
    (cache / f"{'ab' * 16}.lance.damaged-1").mkdir()

    one = run_cli("cache", "clear", "--model", "abababab", "--yes", "--json", state=state)

    assert one.object == {"cleared": ["ab" * 16], "texts": 0, "bytes": 0}
    assert not list(cache.glob("abab*"))
    assert len(_items(run_cli("cache", "show", "--json", state=state))) == 2


def test_clear_forgets_what_is_kept_by_a_models_name_too_unless_another_model_is_named(
    state: Path,
) -> None:
    named = NamedVectors(state / "cache" / NAMED_FILE)
    named.put({"of a text": [0.5, 0.25], "of another": [1.0, 0.0]})

    of_one = run_cli("cache", "clear", "--model", LARGE.spec.name, "--yes", "--json", state=state)
    assert (of_one.object["texts"], len(named)) == (5, 2)

    cleared = run_cli("cache", "clear", "--yes", "--json", state=state)
    assert (cleared.object["texts"], len(named)) == (32, 0)
    named.close()
