"""Every query on access tokens, by name."""

from __future__ import annotations

from sqlalchemy import bindparam, exists, func, or_, select

from lexigram_ray.jobs.schema import access_tokens

_OF_ID = access_tokens.c.id == bindparam("of_id")

ADD = access_tokens.insert()
ALL = select(access_tokens).order_by(access_tokens.c.created_at, access_tokens.c.id)
ONE = select(access_tokens).where(_OF_ID)
ANY_EVER = select(exists().where(access_tokens.c.id.is_not(None)))

# The one that may be used under a name, or could be if it had not expired.
OF_NAME = select(access_tokens).where(
    access_tokens.c.name == bindparam("of_name"), access_tokens.c.revoked_at.is_(None)
)

# The first time counts: a token that is revoked again stays revoked since then.
REVOKE = (
    access_tokens.update()
    .where(_OF_ID)
    .values(revoked_at=func.coalesce(access_tokens.c.revoked_at, bindparam("now")))
)

# Any number of processes use a token at once; one of them notes it.
USED = (
    access_tokens.update()
    .where(
        _OF_ID,
        or_(
            access_tokens.c.last_used_at.is_(None),
            access_tokens.c.last_used_at < bindparam("noted_before"),
        ),
    )
    .values(last_used_at=bindparam("now"))
)
