"""Calls a stack, yours or the laptop's, at a rate that you choose, and measures how long it takes: `make load`."""
