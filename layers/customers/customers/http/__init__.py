"""API Gateway's events and responses: everything that an endpoint needs besides the model and the store."""
