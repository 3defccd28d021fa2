"""Clients generated from the published document by other people's generators, tested against the service."""
