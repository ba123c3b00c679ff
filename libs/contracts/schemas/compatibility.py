"""Which changes of an event's JSON Schema break those who read or write it already."""

from collections.abc import Iterator, Mapping
from typing import Any

_TEXTS = frozenset({"description", "title", "examples"})
_HANDLED = frozenset({"properties", "required", "enum", "$defs", "$ref"})

Schema = Mapping[str, Any]
Definitions = tuple[Schema, Schema]
"""`$defs` before and after."""


def breaking_changes(before: Schema, after: Schema) -> list[str]:
    """Each breaking change as `place: what`; none when every record of either side is read by the other.

    Additive is: a new property that may be missing, a new definition, a new value of an enumeration (whose readers
    are released before its writers), a text.
    """
    return list(_changes(before, after, (before.get("$defs", {}), after.get("$defs", {})), "", frozenset()))


def _changes(
    before: Schema, after: Schema, definitions: Definitions, place: str, within: frozenset[str]
) -> Iterator[str]:
    if "$ref" in before or "$ref" in after:
        yield from _references(before, after, definitions, place, within)
        return
    for keyword in sorted((before.keys() | after.keys()) - _TEXTS - _HANDLED):
        yield from _compare(before.get(keyword), after.get(keyword), definitions, f"{place}/{keyword}", within)
    gone = [value for value in before.get("enum", ()) if value not in after.get("enum", ())]
    if gone or ("enum" in before) != ("enum" in after):
        yield f"{place}/enum: no longer has {gone}"
    then, now = before.get("properties", {}), after.get("properties", {})
    for name in sorted(then.keys() - now.keys()):
        yield f"{place}/{name}: is gone"
    for name in sorted(then.keys() & now.keys()):
        yield from _compare(then[name], now[name], definitions, f"{place}/{name}", within)
    must_then, must_now = set(before.get("required", ())), set(after.get("required", ()))
    for name in sorted(must_now - must_then):
        yield f"{place}/{name}: is required, and records without it exist"
    for name in sorted(must_then - must_now):
        yield f"{place}/{name}: may be missing, and readers count on it"
    for name in sorted(now.keys() - then.keys()):
        if before.get("additionalProperties") is False:
            yield f"{place}/{name}: is new where readers refuse what they do not know"


def _references(
    before: Schema, after: Schema, definitions: Definitions, place: str, within: frozenset[str]
) -> Iterator[str]:
    name = str(before.get("$ref"))
    if before.get("$ref") != after.get("$ref"):
        yield f"{place}: is {after.get('$ref', 'something else')}, was {name}"
    elif name not in within:
        key = name.rsplit("/", 1)[-1]
        yield from _changes(definitions[0][key], definitions[1][key], definitions, place, within | {name})


def _compare(before: Any, after: Any, definitions: Definitions, place: str, within: frozenset[str]) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _changes(before, after, definitions, place, within)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _compare(one, other, definitions, f"{place}[{index}]", within)
    elif before != after:
        yield f"{place}: is {after!r}, was {before!r}"
