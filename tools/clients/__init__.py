"""Clients that others generate from the published document, tried against the service."""
