"""API Gateway on the laptop: from an HTTP request to a function and back."""
