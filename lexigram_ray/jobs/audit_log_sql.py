"""Every query on the audit log, by name."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, exists, or_, select

from lexigram_ray.jobs.schema import audit_log

BEGIN = audit_log.insert()
END = (
    audit_log.update()
    .where(audit_log.c.id == bindparam("of_id"))
    .values(status=bindparam("answered"))
)

NEWEST = (
    select(audit_log)
    .order_by(audit_log.c.at.desc(), audit_log.c.id.desc())
    .limit(bindparam("at_most"))
)
BELOW = or_(
    audit_log.c.at < bindparam("last_at"),
    and_(audit_log.c.at == bindparam("last_at"), audit_log.c.id < bindparam("last_id")),
)

_seen = audit_log.alias("seen")

# A clock that was set ahead makes everything old at once: nothing goes unless the log has seen a
# day pass by it.
PRUNE = audit_log.delete().where(
    audit_log.c.at < bindparam("before"),
    exists().where(_seen.c.at >= bindparam("seen_since"), _seen.c.at < bindparam("seen_until")),
)
