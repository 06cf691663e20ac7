"""Durable state and the plain in-process execution of a unit. No Ray."""
