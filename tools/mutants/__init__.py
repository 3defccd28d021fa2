"""Breaks the layer and the functions in small ways, and counts how often a test notices: `make mutants`."""
