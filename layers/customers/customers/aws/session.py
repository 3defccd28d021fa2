"""AWS clients, made by `botocore` without what other services need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.handlers import BUILTIN_HANDLERS, REGISTER_FIRST, REGISTER_LAST
from botocore.session import Session
from botocore.utils import EVENT_ALIASES

if TYPE_CHECKING:
    from botocore.config import Config


def client(service: str, config: Config) -> Any:  # noqa: ANN401 (each service has a type of its own)
    """Return a client for a service.

    It does not use `boto3`, which every cold start would load. A session inspects each of botocore's 120 handlers.
    Those that name another service are never called, so they are left out.
    """
    session = Session(include_builtin_handlers=False)
    emitter = session.get_component("event_emitter")
    places = {REGISTER_FIRST: emitter.register_first, REGISTER_LAST: emitter.register_last}
    concerned = {"*", service, EVENT_ALIASES.get(service, service)}
    for event, handler, *place in BUILTIN_HANDLERS:
        kind, *of = event.split(".")
        if kind != "docs" and (not of or of[0] in concerned):
            register = places[place[0]] if place else emitter.register
            register(event, handler)
    return session.create_client(service, config=config)
