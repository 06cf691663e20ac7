"""The package's functions for notebooks and scripts: `lexigram_ray.embed` and `.search`."""
