"""Shared code of the test service."""

GREETING = "hello"
