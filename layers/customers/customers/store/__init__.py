"""DynamoDB: the only package that knows the tables."""
