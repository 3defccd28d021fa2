"""API Gateway's events and responses: what an endpoint needs besides the model and the store."""
