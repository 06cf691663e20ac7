"""Who may use the HTTP service: tokens of which the store keeps a hash and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from sqlalchemy import Connection, Row, inspect

from lexigram_ray.core.errors import ConflictError, DiskFullError, UnreachableError, UsageError
from lexigram_ray.jobs import access_tokens_sql
from lexigram_ray.jobs.database import (
    MICROSECONDS,
    Database,
    from_micros,
    from_optional_micros,
    storable,
    to_micros,
)
from lexigram_ray.jobs.schema import access_tokens

Scope = Literal["read", "submit", "operate"]
SCOPES: tuple[Scope, ...] = ("read", "submit", "operate")
"""What a token allows; each one allows those before it too."""

LONGEST_NAME = 64
NOTED_SECONDS = 60.0
"""Between two notes that a token was used."""

_ID_BYTES, _SECRET_BYTES = 6, 32
_TOKEN = re.compile(rf"lxr_([0-9a-f]{{{2 * _ID_BYTES}}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}")
_ID = re.compile(rf"[0-9a-f]{{{2 * _ID_BYTES}}}")
# Whoever gives a name has looked whether it is taken: one at a time.
_LOCK = "access_tokens"

logger = logging.getLogger("lexigram_ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token, without its secret.

    Attributes:
        scopes: All that it allows, the least first.
        expires_at: From then on it is not valid; None is never.
        revoked_at: Since then it is not valid.
        last_used_at: To the minute.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_valid_at(self, now: datetime) -> bool:
        """Return whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def state_at(self, now: datetime) -> Literal["valid", "revoked", "expired"]:
        """Return why it is not valid, or that it is."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if self.is_valid_at(now) else "expired"

    def to_dict(self) -> dict[str, object]:
        """Return what `tokens list --json` answers."""
        times = {
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
            "last_used_at": self.last_used_at,
        }
        shown = {name: None if at is None else at.isoformat() for name, at in times.items()}
        return {"id": self.id, "name": self.name, "scopes": list(self.scopes), **shown}


def is_well_formed(token: str) -> bool:
    """Return whether a text could be a token of any store."""
    return _TOKEN.fullmatch(token) is not None


class AccessTokens:
    """Makes, knows and revokes tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, scopes: Iterable[str], expires_at: datetime | None = None
    ) -> tuple[AccessToken, str]:
        """Make a token of 256 random bits.

        Args:
            name: Whose it is, for lists and the audit log. One that has expired gives its own up.
            scopes: Of `SCOPES`; those that they imply need not be named.
            expires_at: Aware.

        Returns:
            The token, and its secret, which nobody can ask for again.

        Raises:
            ConflictError: A token of this name is in use.
            UsageError: The name, the scopes or the time will not do.
        """
        now = self._database.now()
        _check_name(name)
        token = AccessToken(
            id=secrets.token_hex(_ID_BYTES),
            name=name,
            scopes=_implied(scopes),
            created_at=from_micros(now),
            expires_at=_ahead(expires_at, now),
        )
        secret = f"lxr_{token.id}_{secrets.token_hex(_SECRET_BYTES)}"
        with self._database.write() as connection:
            self._database.lock(connection, _LOCK)
            self._free_name(connection, name, now)
            connection.execute(access_tokens_sql.ADD, _row(token, secret))
        return token, secret

    def verify(self, secret: str) -> AccessToken | None:
        """Return the token of a secret, and note that it was used; None unless it is valid."""
        found = _TOKEN.fullmatch(secret)
        if found is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(access_tokens_sql.ONE, {"of_id": found[1]}).one_or_none()
        if row is None or not hmac.compare_digest(row.hash, _hash(secret)):
            return None
        token, now = _token(row), self._database.now()
        if not token.is_valid_at(from_micros(now)):
            return None
        if row.last_used_at is None or row.last_used_at < now - NOTED_SECONDS * MICROSECONDS:
            self._note_use(token, now)
        return token

    def list(self) -> list[AccessToken]:
        """Return all tokens, the oldest first; also those that are not valid any more."""
        with self._database.read() as connection:
            return _all(connection)

    def revoke(self, id_or_name: str) -> AccessToken:
        """Take a token's rights away, for good.

        Args:
            id_or_name: A name means the token that has it now, not those that had it before.

        Raises:
            UsageError: There is no such token.
        """
        given, now = storable(id_or_name), self._database.now()
        with self._database.write() as connection:
            self._database.lock(connection, _LOCK)
            asked = {"of_id": given}
            row = connection.execute(access_tokens_sql.ONE, asked).one_or_none()
            if row is None:
                row = connection.execute(
                    access_tokens_sql.OF_NAME, {"of_name": given}
                ).one_or_none()
            if row is None:
                raise UsageError(
                    f"there is no token {id_or_name!r} that could be revoked",
                    hint="lexigram-ray tokens list",
                )
            of_token = {"of_id": row.id}
            connection.execute(access_tokens_sql.REVOKE, {**of_token, "now": now})
            return _token(connection.execute(access_tokens_sql.ONE, of_token).one())

    def any_ever(self) -> bool:
        """Return whether a token was ever made, whatever has become of it."""
        with self._database.read() as connection:
            return bool(connection.execute(access_tokens_sql.ANY_EVER).scalar())

    def any_valid(self) -> bool:
        """Return whether a token is valid now."""
        now = from_micros(self._database.now())
        return any(token.is_valid_at(now) for token in self.list())

    def _free_name(self, connection: Connection, name: str, now: int) -> None:
        asked = {"of_name": name}
        row = connection.execute(access_tokens_sql.OF_NAME, asked).one_or_none()
        if row is None:
            return
        if _token(row).is_valid_at(from_micros(now)):
            raise ConflictError(
                f"a token named {name!r} is in use",
                hint=f"give another name, or lexigram-ray tokens revoke {row.id}",
            )
        connection.execute(access_tokens_sql.REVOKE, {"of_id": row.id, "now": now})

    def _note_use(self, token: AccessToken, now: int) -> None:
        noted = {
            "of_id": token.id,
            "now": now,
            "noted_before": int(now - NOTED_SECONDS * MICROSECONDS),
        }
        try:
            with self._database.write() as connection:
                connection.execute(access_tokens_sql.USED, noted)
        except (DiskFullError, UnreachableError) as error:
            # Who only reads is served all the same.
            logger.warning("that token %s was used is not noted: %s", token.id, error)


def tokens_in(url: str) -> list[AccessToken]:
    """Return all tokens of a store as it is: nothing is made or brought up to date.

    Raises:
        ConfigError: The URL names no database that a store can be in.
        StoreUnreachableError: The database cannot be asked.
    """
    database = Database(url, time.time)
    try:
        if not database.exists():
            return []
        with database.read() as connection:
            has_tokens = inspect(connection).has_table(access_tokens.name)
            return _all(connection) if has_tokens else []
    finally:
        database.close()


def _all(connection: Connection) -> list[AccessToken]:
    return [_token(row) for row in connection.execute(access_tokens_sql.ALL)]


def _check_name(name: str) -> None:
    is_plain = name.isprintable() and name == name.strip() and storable(name) == name
    if not name or len(name) > LONGEST_NAME or not is_plain:
        raise UsageError(
            f"{name[:LONGEST_NAME]!r} is no name of a token",
            hint=f"give 1 to {LONGEST_NAME} printable characters, without space around them",
        )
    if _ID.fullmatch(name):
        raise UsageError(f"{name!r} looks like the id of a token", hint="give another name")


def _implied(scopes: Iterable[str]) -> tuple[Scope, ...]:
    wanted = set(scopes)
    unknown = sorted(wanted.difference(SCOPES))
    if unknown or not wanted:
        said = f"{unknown[0][:LONGEST_NAME]!r} is no scope" if unknown else "no scope was given"
        raise UsageError(said, hint=f"one of {', '.join(SCOPES)}")
    highest = max(SCOPES.index(cast("Scope", scope)) for scope in wanted)
    return SCOPES[: highest + 1]


def _ahead(expires_at: datetime | None, now: int) -> datetime | None:
    if expires_at is None:
        return None
    if expires_at.tzinfo is None or to_micros(expires_at) <= now:
        raise UsageError(
            f"a token cannot expire at {expires_at.isoformat()}",
            hint="give a time that is still to come, with its time zone",
        )
    return expires_at.astimezone(UTC)


def _hash(secret: str) -> str:
    # No salt and no slow hash: there are 256 random bits to guess.
    return hashlib.sha256(secret.encode()).hexdigest()


def _row(token: AccessToken, secret: str) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "hash": _hash(secret),
        "scopes": " ".join(token.scopes),
        "created_at": to_micros(token.created_at),
        "expires_at": None if token.expires_at is None else to_micros(token.expires_at),
        "revoked_at": None,
        "last_used_at": None,
    }


def _token(row: Row[Any]) -> AccessToken:
    return AccessToken(
        id=row.id,
        name=row.name,
        scopes=cast("tuple[Scope, ...]", tuple(row.scopes.split())),
        created_at=from_micros(row.created_at),
        expires_at=from_optional_micros(row.expires_at),
        revoked_at=from_optional_micros(row.revoked_at),
        last_used_at=from_optional_micros(row.last_used_at),
    )
