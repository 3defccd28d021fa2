"""The template: what it declares, resolved to plain data."""
