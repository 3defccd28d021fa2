"""What the functions share: `http` and `imports` → `store` → `aws` → `model`.

Imports point one way, which `make check` verifies. `customer` declares the customer, and `model` checks what clients
send. Only `store`, `imports` and `http.idempotency` know tables, and only `http` turns an error into a status.
"""
