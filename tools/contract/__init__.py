"""The published contract: what the code and the template promise, as an OpenAPI document and pages made from it."""
