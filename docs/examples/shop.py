"""A shop's customers: create or update, find by email, change, and sign up. Needs nothing but Python 3.12.

CUSTOMERS_TOKEN=$(cat .local/token) python3 docs/examples/shop.py
"""

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT = 35
"""Seconds. The service answers within 29, so whoever waits longer gets to know what became of a write."""
ATTEMPTS = 6
BACKOFF = 0.25
"""Seconds before the second attempt, at most. The limit doubles with each attempt."""
WORTH_REPEATING = {429, 500, 502, 503, 504}

type Customer = dict[str, Any]


class CustomersError(Exception):
    """The service said no."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem


class Customers:
    """The customers of a service."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def put(self, external_id: str, customer: Customer) -> Customer:
        """Create the customer with your own key, or replace all its fields."""
        path = f"/api/customers/external/{urllib.parse.quote(external_id, safe='')}"
        return self._call("PUT", path, customer)[0]

    def find(self, email: str) -> list[Customer]:
        """Return the customers with an email address: none, one or several."""
        found: list[Customer] = []
        cursor: str | None = ""
        while cursor is not None:
            query = urllib.parse.urlencode({"email": email, "cursor": cursor})
            page, _ = self._call("GET", f"/api/customers/?{query}")
            found += page["customers"]
            cursor = page["next_cursor"]
        return found

    def change(self, customer_id: int, **fields: object) -> Customer:
        """Set some fields, and overwrite nobody else's change unseen."""
        path = f"/api/customers/{customer_id}"
        while True:
            customer, tag = self._call("GET", path)
            # Also after a lost response: then the first attempt has made the change.
            if all(customer[name] == value for name, value in fields.items()):
                return customer
            # Here a program would look at what it has read, and decide whether the change is still right.
            try:
                return self._call("PATCH", path, fields, ("If-Match", tag))[0]
            except CustomersError as error:
                # 412: somebody has changed the customer since it was read.
                if error.status != http.HTTPStatus.PRECONDITION_FAILED:
                    raise

    def sign_up(self, customer: Customer, key: str) -> Customer:
        """Create a customer who has no key of yours. The same sign-up with the same key creates one customer."""
        return self._call("POST", "/api/customers/", customer, ("Idempotency-Key", key))[0]

    def _call(
        self, method: str, path: str, body: Customer | None = None, *headers: tuple[str, str]
    ) -> tuple[Customer, str]:
        """Send a request that may be repeated, until there is a response. Return its body and its ETag."""
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **dict(headers)},
        )
        for attempt in range(1, ATTEMPTS + 1):
            wait = random.uniform(0, BACKOFF * 2**attempt)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                    answer: Customer = json.load(response)
                    return answer, response.headers["ETag"]
            except urllib.error.HTTPError as error:
                with error:
                    after = error.headers["Retry-After"]
                    # A 409 with Retry-After means that the first attempt is still running. Any other 409 is final.
                    if attempt == ATTEMPTS or not (after or error.code in WORTH_REPEATING):
                        raise CustomersError(error.code, error.read().decode()) from None
                    wait += int(after or 0)
            except (OSError, http.client.HTTPException):
                # No response: the connection failed, or took too long.
                if attempt == ATTEMPTS:
                    raise
            time.sleep(wait)
        raise AssertionError


def main() -> None:
    """Do each of them once."""
    customers = Customers(os.environ.get("CUSTOMERS_URL", "http://127.0.0.1:3000"), os.environ["CUSTOMERS_TOKEN"])
    ada = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com", "group_id": 7}

    customer = customers.put("shop-42", ada)
    print("shop-42 has version", customer["version"])
    print("put again, it has version", customers.put("shop-42", ada)["version"])

    print("found by email:", *(found["external_id"] for found in customers.find("ADA@example.com")))

    changed = customers.change(customer["id"], last_name="King")
    print("changed to", changed["last_name"], "in version", changed["version"])

    grace = {"first_name": "Grace", "last_name": "Hopper", "email": "grace@example.com", "group_id": 7}
    first = customers.sign_up(grace, key="sign-up-1906")
    second = customers.sign_up(grace, key="sign-up-1906")
    print("signed up twice, created", len({first["id"], second["id"]}))


if __name__ == "__main__":
    main()
