"""The scenario with openapi-python-client's client."""

import os

from customers_api_client import AuthenticatedClient
from customers_api_client.api.customers import (
    create_customers,
    delete_customer,
    find_customers,
    get_customer,
    update_customer,
)
from customers_api_client.models import (
    Changes,
    CreateCustomersOnError,
    CreateCustomersSize,
    Customer,
    CustomerInput,
    CustomerListInput,
    Deleted,
    Page,
    Problem,
    RowResults,
)

key = os.environ["KEY"]
new = CustomerInput(first_name="Ann", last_name="Lee", email="ann@example.com", group_id=7, external_id=key)
with AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["TOKEN"]) as client:
    created = create_customers.sync(client=client, body=new)
    assert isinstance(created, Customer)
    print("created", created.id.bit_length() > 31, created.version)

    good = CustomerInput(first_name="Bob", last_name="Lee", email="bob@example.com", group_id=7)
    bad = CustomerInput(first_name="", last_name="Lee", email="bob@example.com", group_id=7)
    kept = create_customers.sync(
        client=client,
        body=CustomerListInput([good, bad]),
        size=CreateCustomersSize.LIST,
        on_error=CreateCustomersOnError.KEEP,
    )
    assert isinstance(kept, RowResults)
    print("kept", *(int(result.status) for result in kept.results))

    found = find_customers.sync(client=client, external_id=key)
    assert isinstance(found, Page)
    print("found", [customer.id for customer in found.customers] == [created.id])

    answer = update_customer.sync_detailed(created.id, client=client, body=Changes(age=42), if_match='"1"')
    assert isinstance(answer.parsed, Customer)
    print("changed", answer.parsed.age, answer.headers["ETag"])

    deleted = delete_customer.sync(created.id, client=client)
    assert isinstance(deleted, Deleted)
    print("deleted", deleted.deleted)

    refused = get_customer.sync(created.id, client=client)
    assert isinstance(refused, Problem)
    print("refused", refused.status, refused.type_)
