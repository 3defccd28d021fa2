"""Clients of AWS, and what functions of AWS Lambda have in common."""
