"""The keys of a record and of the records in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel


def keys_of(record: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a record, as the parts of its place; the item of a list is 0."""
    for name, field in record.model_fields.items():
        yield (*above, name)
        for inner, part in _records(field.annotation):
            yield from keys_of(inner, (*above, name, *part))


def _records(kind: Any) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    """The records that a field of this type holds, and the part of the place that leads to them."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, ()
        return
    for inner in get_args(kind):
        for record, part in _records(inner):
            yield record, ("0", *part) if get_origin(kind) is list else part
