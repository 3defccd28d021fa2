"""Builds the documents and the reference page into one site: `make docs`."""
