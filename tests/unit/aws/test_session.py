"""Clients are made without the handlers of other services, and have all of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import botocore.handlers
import botocore.session
import pytest
from botocore.config import Config

from customers.aws import session as our_session

if TYPE_CHECKING:
    from collections.abc import Callable

REGION = Config(region_name="us-east-1")


@pytest.mark.parametrize("service", ["dynamodb", "events", "s3", "sqs"])
def test_whatever_happens_to_a_client_the_same_handlers_are_called_as_in_a_whole_session(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []

    def recorder(number: int) -> Callable[..., None]:
        def record(**_: object) -> None:
            called.append(number)

        return record

    handlers: list[Any] = list(botocore.handlers.BUILTIN_HANDLERS)
    recorders = [(event, recorder(number), *place) for number, (event, _, *place) in enumerate(handlers)]
    for module in (botocore.handlers, our_session):
        monkeypatch.setattr(module, "BUILTIN_HANDLERS", recorders)
    # Libraries may add handlers of their own to every session.
    monkeypatch.setattr("botocore.session.invoke_initializers", lambda _: None)
    sessions: list[Any] = []
    create_client = botocore.session.Session.create_client
    monkeypatch.setattr(botocore.session.Session, "create_client", lambda session, *_, **__: sessions.append(session))
    our_session.client(service, REGION)
    monkeypatch.setattr(botocore.session.Session, "create_client", create_client)
    (ours,) = sessions
    whole = botocore.session.get_session()
    client = whole.create_client(service, "us-east-1")
    service_id = client.meta.service_model.service_id.hyphenize()
    kinds = {event.partition(".")[0] for event, *_ in handlers} - {"docs"}
    operations = client.meta.service_model.operation_names
    events = [*kinds, *(f"{kind}.{name}" for kind in kinds for name in (service, service_id))]
    events += [f"{kind}.{service_id}.{operation}" for kind in kinds for operation in operations]
    answers = []
    for session in (whole, ours):
        called.clear()
        for event in events:
            session.get_component("event_emitter").emit(event)
        answers.append(list(called))
    assert answers[0]
    assert answers[1] == answers[0]
