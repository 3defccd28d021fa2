"""What the functions share: http → model → store, and the tokens.

The arrows go one way. `model` and `customer` know nothing of AWS, only the stores speak to DynamoDB, and only `http`
turns an error into a status. Imports come by another way: queues → imports → model → store.
"""
