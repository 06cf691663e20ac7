"""The embedding engine: models, tokenising, batches, cache. No Ray."""
