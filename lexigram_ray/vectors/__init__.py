"""Lance: schema, idempotent writes, search, collections."""
