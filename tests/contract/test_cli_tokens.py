"""`lexigram-ray tokens`: made, listed and revoked in processes of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from lexigram_ray.cli.app import run
from lexigram_ray.jobs.access_tokens import tokens_in
from lexigram_ray.jobs.audit_log import Change
from lexigram_ray.jobs.store import Store
from tests.command_line import Result, run_cli

Call = Callable[..., Result]
FORMAT = re.compile(r"lxr_[0-9a-f]{12}_[0-9a-f]{64}")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def call(state: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process: one of its own takes a second to start."""

    def called(*arguments: str) -> Result:
        code = run(["--state", str(state), "tokens", *arguments])
        shown = capsys.readouterr()
        return Result(code=code, stdout=shown.out, stderr=shown.err)

    return called


def opened(state: Path) -> Store:
    return Store.open(f"sqlite:///{state / 'jobs.db'}")


def items(result: Result) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", result.object["items"])


def test_a_token_is_printed_once_and_alone(state: Path) -> None:
    made = run_cli("tokens", "create", "ci", "--scope", "submit", state=state)

    assert made.code == 0
    secret = made.stdout.strip()
    assert FORMAT.fullmatch(secret)
    assert secret not in made.stderr
    assert "read, submit" in made.stderr
    with opened(state) as store:
        found = store.tokens.verify(secret)
    assert found is not None
    assert found.name == "ci"

    listed = run_cli("tokens", "list", state=state)
    assert "ci" in listed.stdout
    assert secret.rpartition("_")[2] not in listed.stdout + listed.stderr


def test_as_json_it_is_one_object_with_the_token_in_it(call: Call) -> None:
    asked = ("--scope", "read", "--scope", "operate", "--expires", "90d")
    made = call("create", "admin", *asked, "--json").object
    listed = call("list", "--json")

    assert FORMAT.fullmatch(str(made["token"]))
    assert made["scopes"] == ["read", "submit", "operate"]
    expires_at = datetime.fromisoformat(str(made["expires_at"]))
    assert abs(expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=10)
    del made["token"]
    assert items(listed) == [made]
    assert listed.object["next"] is None


def test_a_revoked_token_is_listed_as_that(state: Path, call: Call) -> None:
    secret = call("create", "ci").stdout.strip()
    revoked = call("revoke", "ci", "--json").object
    listed = call("list")

    assert revoked["revoked_at"] is not None
    assert revoked["scopes"] == ["read"]
    assert "revoked" in listed.stdout
    with opened(state) as store:
        assert store.tokens.verify(secret) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "ci", "--scope", "root"), "'root'"),
        (("create", "ci", "--expires", "soon"), "--expires"),
        (("create", "ci", "--expires", "2001-01-01"), "is over"),
        (("create", ""), "name"),
        (("create",), "NAME"),
        (("revoke", "nobody"), "no tokens"),
        (("audit", "--limit", "0"), "--limit"),
        ((), "create"),
    ],
)
def test_wrong_use_is_explained_and_makes_no_token(
    state: Path, call: Call, arguments: tuple[str, ...], said: str
) -> None:
    result = call(*arguments)

    assert result.code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert tokens_in(f"sqlite:///{state / 'jobs.db'}") == []


def test_a_taken_name_is_refused_with_the_way_out(call: Call) -> None:
    call("create", "ci")
    again = call("create", "ci")

    assert again.code == 2
    assert again.stdout == ""
    assert "tokens revoke" in again.stderr


def test_the_audit_log_is_listed_page_by_page(state: Path, call: Call) -> None:
    nothing = call("audit", "--json")
    assert nothing.object == {"items": [], "next": None}
    assert not state.exists()

    with opened(state) as store:
        for number in range(3):
            change = Change(
                token_id="abc",
                token_name=f"ci-{number}",
                request_id="r-1",
                method="POST",
                path="/v1/jobs/\x1b[2J/cancel",
                client="127.0.0.1",
            )
            (entry_id,) = store.audit.record([change])
            store.audit.record([], {entry_id: 202} if number else {})
    first = call("audit", "--limit", "2", "--json")
    cursor = str(first.object["next"])
    second = call("audit", "--limit", "2", "--cursor", cursor, "--json")
    shown = call("audit")

    names = [item["token_name"] for item in items(first) + items(second)]
    assert names == ["ci-2", "ci-1", "ci-0"]
    assert second.object["next"] is None
    assert [item["status"] for item in items(first) + items(second)] == [202, 202, None]
    assert "unknown" in shown.stdout
    assert "\x1b" not in shown.stdout
