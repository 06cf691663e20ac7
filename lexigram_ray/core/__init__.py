"""Types, errors, ids, configuration, protocols. No Ray, no torch, no I/O but the config file."""
