"""The duties that keep a store fast and small, when they run, and how a run is ended."""
