"""Who makes a change: what a customer's item says of its last writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


class Author(NamedTuple):
    """Who makes a change: a request with a token, or a row of an import. Says nothing of a person."""

    token_id: str | None = None
    request_id: str | None = None
    """Of the request, as in `X-Request-Id`."""
    import_id: str | None = None
    row: int | None = None
    """In the import, starting at 1."""

    def attribute(self) -> AttributeValueTypeDef:
        """Return the author as the attribute that keeps it."""
        known: dict[str, AttributeValueTypeDef] = {
            name: {"N": str(value)} if isinstance(value, int) else {"S": value}
            for name, value in zip(self._fields, self, strict=True)
            if value is not None
        }
        return {"M": known}
