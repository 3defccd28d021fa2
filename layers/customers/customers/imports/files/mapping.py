"""What the caller says about a file's columns: which field a column is, and which columns to leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import quote, unquote

from customers.errors import CustomersError
from customers.imports.files.columns import HEADER_RULE, IGNORED, LEFT_OUT, column_named, squashed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAP: Final = "map"
_IGNORE: Final = "ignore"
"""The object's own metadata, `x-amz-meta-map` and `x-amz-meta-ignore`."""


class MappingError(CustomersError):
    """The caller's words about the columns cannot be followed.

    Parameters
    ----------
    detail
        Why, and what to write instead.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ColumnMapping(NamedTuple):
    """Columns by their squashed names, each with the column that it is; `LEFT_OUT` to ignore it."""

    columns: Mapping[str, str] = {}

    @classmethod
    def of_words(cls, mapped: Iterable[str], ignored: Iterable[str]) -> Self:
        """Read what the caller wrote.

        Parameters
        ----------
        mapped
            Such as `Mail=email`: the file's column, and the field.
        ignored
            Columns to leave out.

        Raises
        ------
        MappingError
            One cannot be followed, or two contradict each other.
        """
        columns = {squashed(name): LEFT_OUT for name in ignored}
        for word in mapped:
            name, sign, field = word.rpartition("=")
            if not sign:
                raise MappingError(f"{word!r} does not say which field the column is. Write it as Mail=email.")
            column = column_named(field)
            if column is None or column in IGNORED:
                raise MappingError(f"{word!r} maps to {field!r}, which is not a field. {HEADER_RULE}.")
            if columns.setdefault(squashed(name), column) != column:
                raise MappingError(f"The column {name!r} is mapped or ignored twice, in different ways. Say it once.")
        return cls(columns)

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Read an object's own metadata: lists with commas, in which names may be percent-encoded (RFC 3986).

        Raises
        ------
        MappingError
            It cannot be followed.
        """
        words = [
            [unquote(word.strip()) for word in metadata.get(key, "").split(",") if word.strip()]
            for key in (_MAP, _IGNORE)
        ]
        return cls.of_words(*words)

    def column(self, name: str) -> str | None:
        """Return the column that a file calls by a name; None if there is no such column."""
        return self.columns[key] if (key := squashed(name)) in self.columns else column_named(name)


AS_NAMED: Final = ColumnMapping()
"""For a file about whose columns the caller says nothing."""


def mapping_metadata(mapped: Iterable[str], ignored: Iterable[str]) -> dict[str, str]:
    """Return the metadata for an object that says the same, in ASCII as S3 wants it."""
    lists = {
        _MAP: ",".join("=".join(quote(part, safe=" ") for part in word.rpartition("=")[::2]) for word in mapped),
        # A blank name is that of a column without one.
        _IGNORE: ",".join(quote(name, safe=" ") or quote(" ") for name in ignored),
    }
    return {key: words for key, words in lists.items() if words}
