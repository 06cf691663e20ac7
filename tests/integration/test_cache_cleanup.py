"""The duty `cache_cleanup` on real caches: what the limits say goes, and nothing else."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from pathlib import Path

import lance
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import ParsedDocument
from lexigram_ray.embedding.cache import EmbeddingCache, days_now
from lexigram_ray.ingestion.parsed_store import ParsedStore
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance import cache_cleanup
from tests.fakes import HashingProvider
from tests.integration.commit_data import Place, claim_job, commit, ingested
from tests.integration.duties import claimed_run, context_of, run_duty

PROVIDER = HashingProvider(16)
TODAY = days_now()
NOON = dt.datetime.fromtimestamp((TODAY + 0.5) * 86_400, dt.UTC)
DAYS = st.integers(0, 30)


@pytest.fixture
def config(place: Place) -> WorkersConfig:
    return load_config(state_dir=place.root)


def _put(root: Path, texts: list[str], *, ago: int) -> Path:
    cache = EmbeddingCache(root, PROVIDER.spec, today=lambda: TODAY - ago)
    cache.put([hash_text(text) for text in texts], PROVIDER.embed_texts(texts))
    cache.close()
    return cache.path


def _use(root: Path, texts: list[str], *, ago: int) -> None:
    cache = EmbeddingCache(root, PROVIDER.spec, today=lambda: TODAY - ago)
    cache.lookup([hash_text(text) for text in texts])
    cache.close()


def _kept(path: Path) -> set[str]:
    keys = lance.dataset(str(path)).to_table(columns=["key"])["key"].to_pylist()
    return {bytes(key).hex() for key in keys}


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.dictionaries(st.sampled_from("abcdef"), st.tuples(DAYS, st.none() | DAYS), min_size=1),
    older=st.none() | DAYS,
    unused=st.none() | DAYS,
)
def test_exactly_what_the_limits_say_leaves_the_cache(
    rows: dict[str, tuple[int, int | None]], older: int | None, unused: int | None
) -> None:
    with tempfile.TemporaryDirectory() as root:
        config = load_config(state_dir=Path(root))
        path = config.paths.cache
        for text, (made, used) in rows.items():
            path = _put(config.paths.cache, [text], ago=made)
            if used is not None and used < made:
                _use(config.paths.cache, [text], ago=used)

        with Store.open(config.paths.store_url) as store:
            report = run_duty(
                cache_cleanup.run,
                config,
                store,
                now=lambda: NOON,
                older_than_days=older,
                unused_for_days=unused,
            )

        def stays(made: int, used: int | None) -> bool:
            last = made if used is None else min(made, used)
            return (older is None or made <= older) and (unused is None or last <= unused)

        expected = {text for text, days in rows.items() if stays(*days)}
        assert _kept(path) == {hash_text(text) for text in expected}
        figures = report.figures
        assert (figures["rows_before"], figures["rows_after"]) == (len(rows), len(expected))


def test_vectors_that_are_in_use_stay_unless_the_size_is_limited(
    config: WorkersConfig, store: Store
) -> None:
    texts = [f"text {number}" for number in range(500)]
    path = _put(config.paths.cache, texts, ago=400)
    _use(config.paths.cache, texts, ago=80)

    usual = run_duty(cache_cleanup.run, config, store)
    assert (usual.figures["rows_before"], usual.figures["rows_after"]) == (500, 500)
    planned = run_duty(cache_cleanup.run, config, store, max_bytes="0", dry_run=True)
    assert len(_kept(path)) == 500
    limited = run_duty(cache_cleanup.run, config, store, max_bytes="0")

    assert _kept(path) == set()
    assert planned.figures["rows_after"] == limited.figures["rows_after"] == 0
    [model] = limited.figures["models"]  # pyright: ignore[reportGeneralTypeIssues]
    assert model["bytes_before"] - model["bytes_after"] == limited.figures["bytes_freed"]
    assert "500 would go" in planned.lines[0].replace("of 500 ", "")


def _parsed(config: WorkersConfig, content_hash: str, parser: str | None, *, days: float) -> Path:
    kept = ParsedStore(config.paths.parsed, fingerprint=parser)
    kept.put(
        ParsedDocument(
            content_hash=content_hash, text="text", markdown=False, mime="text/plain", title=""
        )
    )
    [file] = (config.paths.parsed / kept.fingerprint).rglob(f"{content_hash}*")
    at = time.time() - days * 86_400
    os.utime(file, (at, at))
    return file


def test_texts_that_no_ledger_has_go_after_a_while(
    place: Place, config: WorkersConfig, store: Store
) -> None:
    commit(store, claim_job(store, "a"), place.open_collection(store), ingested({"a": 1}))
    known = store.ledger("docs")["a"].content_hash
    gone = hash_text("of a document that went")
    stay = [
        _parsed(config, known, None, days=30),
        # The parser that the rows came from: their offsets are those of its text.
        _parsed(config, known, "parser-1", days=30),
        _parsed(config, gone, None, days=3),
    ]
    go = [
        _parsed(config, known, "parser-0", days=30),
        _parsed(config, gone, "parser-1", days=30),
    ]
    unfinished = go[0].with_name(f"{gone}.z.1.00.tmp")
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (0, 0))

    report = run_duty(cache_cleanup.run, config, store)

    assert all(path.exists() for path in stay)
    assert not any(path.exists() for path in [*go, unfinished])
    figures = report.figures["parsed_texts"]
    assert isinstance(figures, dict)
    assert (figures["removed"], figures["kept"]) == (3, 3)
    assert report.figures["bytes_freed"] == figures["bytes_freed"] > 0


def _staged(config: WorkersConfig, digest: str, *, days: float) -> Path:
    config.paths.staged.mkdir(parents=True, exist_ok=True)
    file = config.paths.staged / f"{digest}.arrow"
    file.write_bytes(np.zeros(100, np.uint8).tobytes())
    at = time.time() - days * 86_400
    os.utime(file, (at, at))
    return file


def test_staged_rows_stay_while_a_job_needs_them(config: WorkersConfig, store: Store) -> None:
    wanted = _staged(config, "a" * 32, days=9)
    abandoned = _staged(config, "b" * 32, days=9)
    fresh = _staged(config, "c" * 32, days=0)
    store.submit(kind="embed", collection="docs", spec={"rows": "a" * 32}, spec_key="a")

    planned = run_duty(cache_cleanup.run, config, store, dry_run=True)
    assert abandoned.exists()
    report = run_duty(cache_cleanup.run, config, store)

    assert (wanted.exists(), abandoned.exists(), fresh.exists()) == (True, False, True)
    assert planned.figures["staged_tables"] == report.figures["staged_tables"]
    assert report.figures["staged_tables"] == {"removed": 1, "bytes_freed": 100}


def test_a_fresh_state_has_nothing_to_clean_and_a_wrong_limit_is_wrong_use(
    config: WorkersConfig, store: Store
) -> None:
    report = run_duty(cache_cleanup.run, config, store)
    assert (report.figures["bytes_freed"], report.lines, report.faults) == (0, [], ())

    context = context_of(config, store, claimed_run(store, "x"), unused_for_days="soon")
    with pytest.raises(UsageError, match="unused_for_days"):
        cache_cleanup.run(context)
