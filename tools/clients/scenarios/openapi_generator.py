"""The scenario with openapi-generator's client for Python."""

import os

from customers_client import (
    ApiClient,
    Changes,
    Configuration,
    CreateCustomersRequest,
    Customer,
    CustomerInput,
    CustomersApi,
    Problem,
    RowCreated,
    RowRefused,
    RowResults,
)
from customers_client.exceptions import NotFoundException

key = os.environ["KEY"]
new = CustomerInput(first_name="Ann", last_name="Lee", email="ann@example.com", group_id=7, external_id=key)
with ApiClient(Configuration(host=os.environ["URL"], access_token=os.environ["TOKEN"])) as client:
    customers = CustomersApi(client)

    created = customers.create_customers(CreateCustomersRequest(new)).actual_instance
    assert isinstance(created, Customer)
    print("created", created.id.bit_length() > 31, created.version)

    rows = {"customers": [{"first_name": "Bob", "last_name": "Lee", "email": "bob@example.com", "group_id": 7}, {}]}
    body = CreateCustomersRequest.model_construct(actual_instance=rows)
    kept = customers.create_customers(body, size="list", on_error="keep").actual_instance
    assert isinstance(kept, RowResults)
    rows_written = (result.actual_instance for result in kept.results)
    print("kept", *(row.status for row in rows_written if isinstance(row, RowCreated | RowRefused)))

    found = customers.find_customers(external_id=key).customers
    print("found", [customer.id for customer in found] == [created.id])

    answer = customers.update_customer_with_http_info(created.id, Changes(age=42), if_match='"1"')
    assert answer.headers is not None
    print("changed", answer.data.age, {name.lower(): value for name, value in answer.headers.items()}["etag"])

    print("deleted", customers.delete_customer(created.id).deleted)
    try:
        customers.get_customer(created.id)
    except NotFoundException as error:
        print("refused", error.status, error.data.type if isinstance(error.data, Problem) else "")
