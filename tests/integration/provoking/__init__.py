"""Real errors of real libraries, each provoked on the spot, with the category a person gave it."""
