"""Ray: local start and attach, ingestion workers, warm embedders."""
