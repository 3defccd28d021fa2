"""The calls of `make load`, sent to the service by a client other than Locust, which has its own environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.load.scenario import Answer, Life, any_group

if TYPE_CHECKING:
    import httpx

    from tools.load.scenario import Calls


def run(calls: Calls, client: httpx.Client) -> list[tuple[str, int]]:
    """Send each call; return those that were not answered as they should be."""
    wrong = []
    try:
        call = next(calls)
        while True:
            response = client.request(call.method, call.path, json=call.body, headers=call.headers)
            if response.status_code not in call.right:
                wrong.append((call.endpoint, response.status_code))
            call = calls.send(Answer(response.status_code, response.json(), response.headers.get("ETag", "")))
    except StopIteration:
        return wrong


def test_every_call_is_answered_as_it_should_be_and_nobody_is_left(client: httpx.Client) -> None:
    group = any_group()
    for _ in range(3):
        life = Life(group)
        assert run(life.calls(), client) == []
        assert life.left == 0
    assert client.get(f"/api/customers/group/{group}/").status_code == 404


def test_a_life_that_is_broken_off_is_cleaned_up(client: httpx.Client) -> None:
    group = any_group()
    life = Life(group)
    calls = life.calls()
    call = next(calls)
    for _ in range(6):
        response = client.request(call.method, call.path, json=call.body, headers=call.headers)
        call = calls.send(Answer(response.status_code, response.json(), response.headers.get("ETag", "")))
    assert life.left == 2
    assert run(life.clean_up(), client) == []
    assert life.left == 0
    assert client.get(f"/api/customers/group/{group}/").status_code == 404
