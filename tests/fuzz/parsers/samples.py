"""A value of every event and answer, made from its JSON Schema: a new one has its seed without a line here."""

from typing import Any

from hypothesis import find
from hypothesis import strategies as st

from libs.contracts.schemas.files import schema
from libs.contracts.topics import Topic

_NAMED = {"caller": "igfmas", "request": "r-1"}
"""What a structure of any names has: a manifest as an outsider sends it says at least whose it is."""

_FORMATS = {"uuid": "6f1b4f0e-5f0c-5e3b-9a35-0f3c6c1f7a11", "date-time": "2026-11-23T08:00:00Z"}


def sample(topic: Topic) -> Any:
    """The JSON value of an event: of choices the fullest, of lists one."""
    return of_schema(schema(topic))


def of_schema(whole: dict[str, Any]) -> Any:
    """A JSON value of this schema, made likewise."""
    return _value(whole, whole.get("$defs", {}))


def _value(part: dict[str, Any], defs: dict[str, Any]) -> Any:
    if "$ref" in part:
        return _value(defs[part["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in part:
        return _value(next(one for one in part["anyOf"] if one.get("type") != "null"), defs)
    if "const" in part or "enum" in part:
        return part.get("const", part.get("enum", [None])[0])
    match part["type"]:
        case "object" if "properties" in part:
            return {name: _value(one, defs) for name, one in part["properties"].items()}
        case "object":
            return dict(_NAMED)
        case "array":
            return [_value(one, defs) for one in part.get("prefixItems", [part.get("items")])]
        case "string":
            return _text(part)
        case kind:
            return {"integer": 1, "boolean": True}[kind]


def _text(part: dict[str, Any]) -> str:
    if "pattern" in part:
        return find(st.from_regex(part["pattern"], fullmatch=True), lambda text: text.isascii())
    return _FORMATS.get(part.get("format", ""), "AAAA")  # also in base64
