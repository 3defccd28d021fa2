"""Creates a customer, reads it and walks through its group, with the client that `make client` generates.

PYTHONPATH=build/client .venv/bin/python docs/examples/python_client.py http://127.0.0.1:3000 .local/token
"""

import sys
import uuid
from pathlib import Path

from customers_api_client import AuthenticatedClient
from customers_api_client.api.customers import create_customers, get_customer
from customers_api_client.api.groups import list_group
from customers_api_client.models import Customer, CustomerInput, ListGroupSort, Page
from customers_api_client.types import UNSET


def main(url: str, token_file: str) -> None:
    """Do it, and say what happened."""
    token = Path(token_file).read_text(encoding="ascii").strip()
    with AuthenticatedClient(base_url=url, token=token) as client:
        new = CustomerInput(first_name="Grace", last_name="Hopper", email="grace@example.com", group_id=7)
        # With a key, the call may be repeated until there is an answer: it creates once.
        created = create_customers.sync(client=client, body=new, idempotency_key=str(uuid.uuid4()))
        if not isinstance(created, Customer):
            sys.exit(f"not created: {created}")
        print("created", created.id)

        found = get_customer.sync(created.id, client=client)
        print("read", found.first_name if isinstance(found, Customer) else found)

        cursor, seen = UNSET, 0
        while cursor is not None:
            page = list_group.sync(7, client=client, sort=ListGroupSort.LAST_NAME, limit=100, cursor=cursor)
            if not isinstance(page, Page):
                sys.exit(f"not listed: {page}")
            seen += len(page.customers)
            cursor = page.next_cursor
        print("listed", seen)


if __name__ == "__main__":
    main(*sys.argv[1:])
