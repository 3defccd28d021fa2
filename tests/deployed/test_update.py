"""A live stack is updated from the last release to this one. Nothing that it holds is lost or replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.api.support import path_of, walk
from tests.deployed.conftest import physical_resources

if TYPE_CHECKING:
    import httpx

    from tests.deployed.conftest import Before, Cloud, Deployed

NEW_EACH_TIME = frozenset({"AWS::ApiGateway::Deployment", "AWS::CloudWatch::Dashboard", "AWS::Lambda::LayerVersion"})
"""Types that each deployment creates again: versions, and the dashboard, renamed since the last release."""
NEW_IN_THE_EMULATOR = frozenset({"AWS::ApiGateway::RestApi", "AWS::ApiGateway::Stage", "AWS::Lambda::Permission"})
"""Types that the emulator creates again if a route changes. AWS changes an API in place.
tests/unit/test_last_release.py checks what AWS would replace."""


def test_every_customer_is_there_after_the_update_in_every_order(before: Before, client: httpx.Client) -> None:
    expected = {customer["id"]: customer for customer in before.customers}
    assert len(expected) == 300
    group = before.customers[0]["group_id"]
    for sort in ("id", "first_name", "last_name", "email", "age", "created_at"):
        found = {customer["id"]: customer for customer in walk(client, group, sort=sort, age="true", limit=70)}
        assert found.keys() == expected.keys(), sort
        for number, customer in expected.items():
            assert found[number].items() >= customer.items()


def test_a_customer_of_the_last_release_can_be_changed_and_deleted(before: Before, client: httpx.Client) -> None:
    changed = client.patch(path_of(before.spare), json={"age": 7})
    assert (changed.json()["age"], changed.json()["version"]) == (7, 2)
    assert client.delete(path_of(before.spare), headers={"If-Match": '"2"'}).status_code == 200
    assert client.get(path_of(before.spare)).status_code == 404


def test_nothing_but_versions_is_replaced(before: Before, cloud: Cloud, deployed: Deployed) -> None:
    now = physical_resources(cloud)
    assert deployed.outputs["CustomersTableName"] == before.resources["CustomersTable"][1]
    changed = {
        name: (kind, physical, now.get(name))
        for name, (kind, physical) in before.resources.items()
        if kind not in NEW_EACH_TIME | NEW_IN_THE_EMULATOR and now.get(name) != (kind, physical)
    }
    assert changed == {}
