"""Requests put together into calls: order, turns, limits, faults, cancelled clients."""

from __future__ import annotations

import asyncio
import functools
import gc
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from lexigram_ray.core.errors import (
    ConfigError,
    EmbedderDiedError,
    EmbeddingError,
    TextsRefusedError,
    UnreachableError,
)
from lexigram_ray.embedding.encoding import EncodedTexts
from lexigram_ray.service.batch_queue import BatchLimits
from lexigram_ray.service.batching import Batcher
from lexigram_ray.service.context import TextVectors
from lexigram_ray.service.problems import Saturated

POISON = "poison"
FAULTY = "faulty"
REFUSED = "refused"
LIMITS = BatchLimits(
    texts=64, tokens=8192, max_tokens=512, calls=2, waiting=2048, retry_after_seconds=1
)


@dataclass
class Call:
    texts: Sequence[str]
    as_query: bool
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    dies: bool = False


@dataclass
class ForcedPlace:
    """An embedder whose calls end when a test says so, or at once.

    Attributes:
        holds: Whether calls wait for `goes_on`.
        fault: What preparing raises, while there is one.
    """

    holds: bool = False
    fault: Exception | None = None
    calls: list[Call] = field(default_factory=list)
    prepared: int = 0
    under_way: int = 0
    most_under_way: int = 0

    async def prepare(self) -> None:
        await asyncio.sleep(0)
        self.prepared += 1
        if self.fault is not None:
            raise self.fault

    async def encode(self, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
        call = Call(texts, as_query)
        self.calls.append(call)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.holds:
                await call.goes_on.wait()
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        if call.dies or POISON in texts:
            raise EmbedderDiedError("it died")
        if FAULTY in texts:
            raise EmbeddingError("it failed")
        return encoded(texts)

    def let_go(self) -> None:
        """End the calls under way, and hold none any more."""
        self.holds = False
        for call in self.calls:
            call.goes_on.set()


def encoded(texts: Sequence[str]) -> EncodedTexts:
    return EncodedTexts(
        vectors=np.array([[len(text), 1] for text in texts], np.float32),
        tokens=np.array([len(text) for text in texts], np.int64),
        refused={place: "refused" for place, text in enumerate(texts) if text == REFUSED},
    )


def batcher_of(*places: ForcedPlace, **limits: int) -> Batcher:
    async def find() -> Sequence[ForcedPlace]:
        return places

    return Batcher(find, limits=replace(LIMITS, **limits))


def words(count: int) -> list[str]:
    return ["x" * (place + 1) for place in range(count)]


def lengths(found: TextVectors) -> list[int]:
    return [int(number) for number in found.vectors[:, 0]]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    return run


def asking(batcher: Batcher, *texts: str, as_query: bool = False) -> asyncio.Task[TextVectors]:
    return asyncio.create_task(batcher.embed(texts, as_query=as_query))


async def warm(batcher: Batcher, place: ForcedPlace) -> None:
    """Have a place prepared, and forget the call that it took."""
    held, place.holds = place.holds, False
    await batcher.embed(["warm"], as_query=False)
    place.holds = held
    place.calls.clear()


async def busy_batcher(
    place: ForcedPlace, **limits: int
) -> tuple[Batcher, asyncio.Task[TextVectors]]:
    """Have the only call that a place may have under way there: what is asked now waits."""
    batcher = batcher_of(place, calls=1, **limits)
    await warm(batcher, place)
    first = asking(batcher, "first")
    await until(lambda: len(place.calls) == 1)
    return batcher, first


@on_a_loop
async def test_a_lone_request_goes_at_once_and_alone() -> None:
    place = ForcedPlace()
    found = await batcher_of(place).embed(["ab", "abcd"], as_query=False)
    assert lengths(found) == [2, 4]
    assert list(found.tokens) == [2, 4]
    assert len(place.calls) == 1


@on_a_loop
async def test_what_comes_while_calls_are_under_way_is_the_next_call() -> None:
    place = ForcedPlace(holds=True)
    batcher = batcher_of(place, calls=2)
    await warm(batcher, place)
    first = [asking(batcher, word) for word in words(2)]
    await until(lambda: len(place.calls) == 2)
    later = [asking(batcher, word) for word in words(7)]
    await asyncio.sleep(0)
    place.calls[0].goes_on.set()
    await until(lambda: len(place.calls) == 3)
    assert list(place.calls[2].texts) == words(7)
    place.let_go()
    await asyncio.gather(*first)
    assert [lengths(await each) for each in later] == [[n + 1] for n in range(7)]


@on_a_loop
async def test_no_more_calls_are_under_way_at_a_place_than_allowed() -> None:
    place = ForcedPlace()
    batcher = batcher_of(place, calls=2, texts=1)
    await asyncio.gather(*(batcher.embed([word], as_query=False) for word in words(20)))
    assert place.most_under_way == 2
    assert len(place.calls) == 20


@on_a_loop
async def test_a_request_larger_than_a_call_is_split_and_comes_back_in_order() -> None:
    place = ForcedPlace()
    found = await batcher_of(place, texts=8).embed(words(50), as_query=False)
    assert lengths(found) == [n + 1 for n in range(50)]
    assert list(found.tokens) == [n + 1 for n in range(50)]
    assert max(len(call.texts) for call in place.calls) == 8


@on_a_loop
async def test_a_call_ends_at_its_budget_of_tokens_and_one_long_text_still_goes() -> None:
    place = ForcedPlace()
    batcher = batcher_of(place, tokens=100, max_tokens=500)
    await batcher.embed(["x" * 399] * 4 + ["x" * 4000] + ["x"] * 3, as_query=False)
    assert [len(call.texts) for call in place.calls] == [1, 1, 1, 1, 1, 3]


@on_a_loop
async def test_a_large_request_lets_a_small_one_into_the_next_call() -> None:
    place = ForcedPlace(holds=True)
    batcher = batcher_of(place, calls=1, texts=8)
    await warm(batcher, place)
    large = asking(batcher, *words(400))
    await until(lambda: len(place.calls) == 1)
    small = asking(batcher, "small")
    await asyncio.sleep(0)
    place.calls[0].goes_on.set()
    await until(lambda: len(place.calls) == 2)
    assert "small" in place.calls[1].texts
    assert len(place.calls[1].texts) == 8
    place.calls[1].goes_on.set()
    assert lengths(await small) == [5]
    assert not large.done()
    place.let_go()
    assert lengths(await large) == [n + 1 for n in range(400)]


@on_a_loop
async def test_the_least_busy_place_is_asked() -> None:
    places = [ForcedPlace(holds=True) for _ in range(3)]
    batcher = batcher_of(*places, calls=2, texts=1)
    asked = [asking(batcher, word) for word in words(6)]
    await until(lambda: all(len(place.calls) == 2 for place in places))
    for place in places:
        place.let_go()
    await asyncio.gather(*asked)


@on_a_loop
async def test_queries_and_documents_are_never_in_one_call() -> None:
    place = ForcedPlace(holds=True)
    batcher = batcher_of(place, calls=1)
    await warm(batcher, place)
    asked = [asking(batcher, word, as_query=n % 2 == 0) for n, word in enumerate(words(9))]
    await until(lambda: len(place.calls) == 1)
    place.let_go()
    assert [lengths(await each) for each in asked] == [[n + 1] for n in range(9)]
    assert [call.as_query for call in place.calls] == [True, False, True]


@on_a_loop
async def test_more_than_may_wait_is_refused_with_a_time_to_come_again() -> None:
    place = ForcedPlace(holds=True)
    batcher, first = await busy_batcher(place, waiting=10, retry_after_seconds=3)
    waiting = asking(batcher, *words(8))
    await asyncio.sleep(0)
    with pytest.raises(Saturated) as caught:
        await batcher.embed(words(3), as_query=False)
    assert caught.value.status == 429
    assert caught.value.headers == {"Retry-After": "3", "retry-after-ms": "3000"}
    place.let_go()
    await asyncio.gather(first, waiting)
    assert len((await batcher.embed(words(3), as_query=False)).tokens) == 3


@on_a_loop
async def test_one_request_over_the_limit_is_taken_where_nothing_waits() -> None:
    batcher = batcher_of(ForcedPlace(), waiting=10)
    assert len((await batcher.embed(words(40), as_query=False)).tokens) == 40


@on_a_loop
async def test_what_a_client_that_has_gone_waited_for_is_not_computed() -> None:
    place = ForcedPlace(holds=True)
    batcher, first = await busy_batcher(place, waiting=10)
    gone, stays = asking(batcher, *["gone"] * 9), asking(batcher, "stays")
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    others = asking(batcher, *["other"] * 9)
    await asyncio.sleep(0)
    place.let_go()
    await asyncio.gather(first, stays, others)
    assert "gone" not in [text for call in place.calls for text in call.texts]


@on_a_loop
async def test_whoever_goes_while_no_embedder_can_be_had_leaves_nothing_behind() -> None:
    class Texts(list[str]):
        """Texts of which it can be told whether anybody holds them."""

    async def find() -> Sequence[ForcedPlace]:
        await asyncio.Event().wait()
        return ()

    batcher = Batcher(find, limits=LIMITS)
    texts = Texts(["waits for nobody"])
    held = weakref.ref(texts)
    asked = asyncio.create_task(batcher.embed(texts, as_query=False))
    del texts
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    del asked
    await asyncio.sleep(0)
    gc.collect()
    assert held() is None
    await batcher.close()


@on_a_loop
async def test_the_texts_of_an_embedder_that_died_are_asked_again() -> None:
    place = ForcedPlace(holds=True)
    batcher = batcher_of(place, calls=2)
    await warm(batcher, place)
    asked = [asking(batcher, word) for word in words(5)]
    await until(lambda: len(place.calls) == 2)
    for call in place.calls:
        call.dies = True
    place.let_go()
    assert [lengths(await each) for each in asked] == [[n + 1] for n in range(5)]
    assert place.prepared >= 2


@on_a_loop
async def test_a_text_that_kills_embedders_fails_alone_after_two_more_tries() -> None:
    place = ForcedPlace(holds=True)
    batcher, first = await busy_batcher(place)
    poison = asking(batcher, POISON)
    others = [asking(batcher, word) for word in words(5)]
    await asyncio.sleep(0)
    place.let_go()
    await first
    with pytest.raises(EmbedderDiedError):
        await poison
    assert [lengths(await each) for each in others] == [[n + 1] for n in range(5)]
    assert sum(POISON in call.texts for call in place.calls) == 3


@on_a_loop
async def test_a_text_that_the_model_fails_at_fails_alone() -> None:
    place = ForcedPlace(holds=True)
    batcher, first = await busy_batcher(place)
    faulty, other = asking(batcher, FAULTY), asking(batcher, "other")
    await asyncio.sleep(0)
    place.let_go()
    await first
    with pytest.raises(EmbeddingError):
        await faulty
    assert lengths(await other) == [5]


@on_a_loop
async def test_a_refused_text_is_named_by_its_place_in_its_own_request() -> None:
    batcher = batcher_of(ForcedPlace(), texts=8)
    texts = [*words(20), REFUSED]
    found, refused = await asyncio.gather(
        batcher.embed(words(3), as_query=False),
        batcher.embed(texts, as_query=False),
        return_exceptions=True,
    )
    assert isinstance(found, TextVectors)
    assert isinstance(refused, TextsRefusedError)
    assert refused.reasons == {20: "refused"}


@on_a_loop
async def test_another_place_takes_over_while_one_is_brought_back() -> None:
    dying, other = ForcedPlace(holds=True), ForcedPlace(holds=True)
    batcher = batcher_of(dying, other, calls=1, texts=1)
    asked = [asking(batcher, word) for word in words(6)]
    await until(lambda: len(dying.calls) == len(other.calls) == 1)
    dying.fault = ConfigError("it cannot be loaded any more")
    dying.calls[0].dies = True
    dying.calls[0].goes_on.set()
    other.let_go()
    assert [lengths(await each) for each in asked] == [[n + 1] for n in range(6)]
    assert len(dying.calls) == 1


@on_a_loop
async def test_a_model_that_cannot_be_loaded_is_told_to_all_and_tried_again_later() -> None:
    place = ForcedPlace(fault=ConfigError("it is damaged"))
    batcher = batcher_of(place)
    asked = [asking(batcher, word) for word in words(3)]
    for each in asked:
        with pytest.raises(ConfigError, match="damaged"):
            await each
    place.fault = None
    assert lengths(await batcher.embed(["ab"], as_query=False)) == [2]


@on_a_loop
async def test_an_embedder_that_dies_of_loading_is_given_up_after_three_times() -> None:
    place = ForcedPlace(fault=EmbedderDiedError("it dies at once"))
    with pytest.raises(EmbedderDiedError):
        await batcher_of(place).embed(["ab"], as_query=False)
    assert place.prepared == 3


@on_a_loop
async def test_a_cluster_without_nodes_is_an_error_and_no_wait() -> None:
    with pytest.raises(UnreachableError):
        await batcher_of().embed(["ab"], as_query=False)


@on_a_loop
async def test_closing_fails_what_waits_and_what_is_under_way() -> None:
    place = ForcedPlace(holds=True)
    batcher = batcher_of(place, calls=1)
    await warm(batcher, place)
    asked = [asking(batcher, word) for word in words(3)]
    await until(lambda: len(place.calls) == 1)
    await batcher.close()
    for each in asked:
        with pytest.raises(UnreachableError):
            await each
