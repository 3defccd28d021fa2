"""AWS clients, and what Lambda functions have in common."""
