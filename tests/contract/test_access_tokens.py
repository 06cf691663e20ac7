"""Tokens and the audit log in the store: what is kept, who is known, and what is forgotten."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select
from sqlalchemy.engine import Engine

from lexigram_ray.core.errors import ConflictError, UsageError
from lexigram_ray.jobs import audit_log
from lexigram_ray.jobs.access_tokens import SCOPES, tokens_in
from lexigram_ray.jobs.audit_log import Change
from lexigram_ray.jobs.backup import back_up, restore
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.schema import access_tokens
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import NOW, Clock

DAY = 86_400
FORMAT = re.compile(r"lxr_[0-9a-f]{12}_[0-9a-f]{64}")


def begin(store: Store, path: str = "/v1/jobs/1/cancel", **changes: str) -> str:
    given = {
        "token_id": "abc",
        "token_name": "ci",
        "request_id": "r-1",
        "method": "POST",
        "path": path,
        "client": "127.0.0.1",
    }
    return store.audit.record([Change(**(given | changes))])[0]


def paths(store: Store) -> list[str]:
    return [entry.path for entry in store.audit.page()[0]]


# -- Tokens ----------------------------------------------------------------------------------------


def test_a_token_is_known_by_its_secret_and_by_nothing_else(store: Store) -> None:
    token, secret = store.tokens.create("ci", ["submit"])
    other, other_secret = store.tokens.create("other", ["read"])

    assert FORMAT.fullmatch(secret)
    assert secret != other_secret
    found = store.tokens.verify(secret)
    assert found is not None
    assert (found.id, found.name) == (token.id, "ci")
    assert store.tokens.verify(secret.replace(token.id, other.id)) is None
    assert store.tokens.verify(secret[:-1] + ("0" if secret[-1] != "0" else "1")) is None


def test_what_is_no_token_is_not_looked_for(store: Store) -> None:
    looks: list[object] = []
    odd = ("", "lxr_", "lxr_abc_def", "Bearer x", "ä" * 81, "lxr_" + "0" * 77, "x" * 10_000)

    def note(connection: object) -> None:
        looks.append(connection)

    event.listen(Engine, "begin", note)
    try:
        assert [store.tokens.verify(given) for given in odd] == [None] * len(odd)
    finally:
        event.remove(Engine, "begin", note)
    assert looks == []


def test_the_store_holds_a_hash_and_no_secret(store: Store, store_url: str, clock: Clock) -> None:
    _, secret = store.tokens.create("ci", ["operate"])

    database = Database(store_url, clock)
    with database.read() as connection:
        (row,) = connection.execute(select(access_tokens)).all()
    database.close()
    assert row.hash == hashlib.sha256(secret.encode()).hexdigest()
    assert secret.rpartition("_")[2] not in str(tuple(row))
    assert secret not in str([token.to_dict() for token in store.tokens.list()])


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        (["read"], ("read",)),
        (["submit"], ("read", "submit")),
        (["operate"], SCOPES),
        (["read", "submit"], ("read", "submit")),
    ],
)
def test_a_scope_includes_those_below_it(
    store: Store, given: list[str], allowed: tuple[str, ...]
) -> None:
    assert store.tokens.create("ci", given)[0].scopes == allowed
    assert store.tokens.list()[0].scopes == allowed


def test_a_token_is_valid_until_it_expires(store: Store, clock: Clock) -> None:
    _, secret = store.tokens.create("ci", ["read"], NOW + timedelta(seconds=10))
    assert store.tokens.verify(secret) is not None
    assert store.tokens.any_valid()

    clock.advance(10)
    assert store.tokens.verify(secret) is None
    assert not store.tokens.any_valid()
    assert store.tokens.any_ever()


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_token_stays_revoked(store: Store, clock: Clock, by: str) -> None:
    token, secret = store.tokens.create("ci", ["read"])
    store.tokens.revoke(token.id if by == "id" else "ci")
    clock.advance(60)

    assert store.tokens.verify(secret) is None
    assert store.tokens.revoke(token.id).revoked_at == NOW
    with pytest.raises(UsageError, match="'ci'"):
        store.tokens.revoke("ci")


def test_a_name_is_free_again_once_its_token_is_revoked_or_expired(
    store: Store, clock: Clock
) -> None:
    store.tokens.create("ci", ["read"], NOW + timedelta(seconds=10))
    with pytest.raises(ConflictError, match="in use") as caught:
        store.tokens.create("ci", ["read"])
    assert "revoke" in (caught.value.hint or "")

    clock.advance(11)
    second, _ = store.tokens.create("ci", ["read"])
    store.tokens.revoke("ci")
    third, _ = store.tokens.create("ci", ["read"])

    assert store.tokens.revoke("ci").id == third.id
    states = [token.state_at(NOW + timedelta(seconds=11)) for token in store.tokens.list()]
    assert states == ["revoked"] * 3
    assert second.id != third.id


@pytest.mark.parametrize("name", ["", " ci", "a" * 65, "a\nb", "\udcff", "a\x00b", "0123456789ab"])
def test_a_name_that_would_mislead_is_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        store.tokens.create(name, ["read"])
    assert caught.value.hint
    assert not store.tokens.any_ever()


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "Submit"]])
def test_unknown_scopes_are_refused_with_the_known_ones(store: Store, scopes: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        store.tokens.create("ci", scopes)
    assert "operate" in (caught.value.hint or "")


def test_a_token_cannot_expire_before_it_is_made(store: Store) -> None:
    for time in (NOW, NOW - timedelta(days=1), (NOW + timedelta(days=1)).replace(tzinfo=None)):
        with pytest.raises(UsageError, match="expire"):
            store.tokens.create("ci", ["read"], time)


def test_use_is_noted_once_a_minute(store: Store, clock: Clock) -> None:
    _, secret = store.tokens.create("ci", ["read"])
    noted = []
    for seconds in (0, 30, 31):
        clock.advance(seconds)
        store.tokens.verify(secret)
        noted.append(store.tokens.list()[0].last_used_at)

    assert noted == [NOW, NOW, NOW + timedelta(seconds=61)]


def test_looking_for_tokens_makes_no_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state' / 'jobs.db'}"
    assert tokens_in(url) == []
    assert not (tmp_path / "state").exists()


def test_tokens_of_a_store_that_is_there_are_seen(store: Store, store_url: str) -> None:
    assert tokens_in(store_url) == []
    store.tokens.create("ci", ["read"])
    assert [token.name for token in tokens_in(store_url)] == ["ci"]


# -- The audit log ---------------------------------------------------------------------------------


def test_an_entry_is_there_before_it_ends(store: Store) -> None:
    entry_id = begin(store)
    (entry,) = store.audit.page()[0]
    assert (entry.id, entry.at, entry.status) == (entry_id, NOW, None)

    store.audit.record([], {entry_id: 202})
    (entry,) = store.audit.page()[0]
    assert entry.to_dict() == {
        "id": entry_id,
        "at": NOW.isoformat(),
        "token_id": "abc",
        "token_name": "ci",
        "request_id": "r-1",
        "method": "POST",
        "path": "/v1/jobs/1/cancel",
        "client": "127.0.0.1",
        "status": 202,
    }


def test_an_entry_holds_neither_secrets_nor_more_than_fits(store: Store) -> None:
    _, secret = store.tokens.create("ci", ["read"])
    begin(store, f"/v1/{secret}")
    begin(store, "/v1/" + "x" * 10_000)
    begin(store, "/v1/\x00\udcff\n", method="P" * 1000, client="c" * 1000)

    entries = store.audit.page()[0]
    assert secret.rpartition("_")[2] not in str(entries)
    longest = max(len(entry.path) for entry in entries)
    assert longest == audit_log.MOST_OF_A_PATH
    assert all(len(entry.method + entry.client) < 300 for entry in entries)


def test_pages_go_from_the_newest_to_the_oldest(store: Store, clock: Clock) -> None:
    for number in range(5):
        # Two at one moment, as busy services have them.
        clock.advance(number % 2)
        begin(store, f"/{number}")

    first, cursor = store.audit.page(limit=2)
    second, cursor = store.audit.page(limit=2, cursor=cursor)
    third, end = store.audit.page(limit=2, cursor=cursor)

    shown = [*first, *second, *third]
    assert sorted(entry.path for entry in shown) == ["/0", "/1", "/2", "/3", "/4"]
    assert [entry.at for entry in shown] == sorted((entry.at for entry in shown), reverse=True)
    assert end is None
    with pytest.raises(UsageError, match="cursor"):
        store.audit.page(cursor="1.1' OR 1=1")
    with pytest.raises(UsageError, match="0 entries"):
        store.audit.page(limit=0)


def test_entries_of_ninety_days_are_kept(store: Store, clock: Clock) -> None:
    begin(store, "/old")
    clock.advance(2 * DAY)
    begin(store, "/kept")
    clock.advance(86 * DAY)
    begin(store, "/yesterday")
    clock.advance(2 * DAY + 1)

    assert store.audit.prune() == 1
    assert paths(store) == ["/yesterday", "/kept"]


def test_a_clock_that_was_set_ahead_costs_no_entry(store: Store, clock: Clock) -> None:
    begin(store, "/of today")
    clock.advance(365 * DAY)
    begin(store, "/of a year ahead")

    assert store.audit.prune() == 0
    assert len(paths(store)) == 2


def test_whoever_writes_forgets_what_is_old(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "PRUNE_SECONDS", 0.0)
    begin(store, "/old")
    clock.advance(89 * DAY)
    begin(store, "/of two days ago")
    clock.advance(2 * DAY)
    begin(store, "/new")

    assert paths(store) == ["/new", "/of two days ago"]


# -- In backups ------------------------------------------------------------------------------------


def test_a_restored_store_knows_the_same_tokens(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    _, secret = store.tokens.create("ci", ["submit"])
    store.audit.record([], {begin(store): 202})
    back_up(store_url, tmp_path / "backup.db")
    url = f"sqlite:///{tmp_path / 'new' / 'jobs.db'}"
    restore(tmp_path / "backup.db", url)

    with Store.open(url) as restored:
        found = restored.tokens.verify(secret)
        assert found is not None
        assert found.scopes == ("read", "submit")
        assert restored.audit.page() == store.audit.page()


def test_a_store_that_has_a_token_is_not_restored_over(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    back_up(store_url, tmp_path / "backup.db")
    url = f"sqlite:///{tmp_path / 'new' / 'jobs.db'}"
    with Store.open(url) as other:
        _, secret = other.tokens.create("theirs", ["read"])

        with pytest.raises(UsageError, match="access_tokens"):
            restore(tmp_path / "backup.db", url)
        assert other.tokens.verify(secret) is not None
