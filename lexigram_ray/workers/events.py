"""Kept for its name: what happens is told by `lexigram_ray.workers.hooks`."""
