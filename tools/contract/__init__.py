"""The published contract: what the code and the template promise, as an OpenAPI document and what follows from it."""
