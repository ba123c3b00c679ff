"""Events only grow: the committed schemas are current, and a change that breaks a reader or a writer is refused."""

import copy
import json
from typing import Any
from uuid import UUID

import jsonschema  # type: ignore[import-untyped]
import pytest

from libs.contracts.base import Event
from libs.contracts.schemas.__main__ import main
from libs.contracts.schemas.compatibility import breaking_changes
from libs.contracts.schemas.files import check, committed, schema, write
from libs.contracts.topics import TOPICS, Topic


def test_the_committed_schemas_are_those_of_the_events() -> None:
    assert check() == []


@pytest.mark.parametrize("name", TOPICS)
def test_a_committed_schema_is_valid_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(committed()[name])


def test_check_has_an_exit_code() -> None:
    assert main(["--check"]) == 0


BEFORE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "maxLength": 10},
        "reason": {"enum": ["a", "b"]},
        "part": {"$ref": "#/$defs/Part"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "exact": {"type": "object", "properties": {}, "additionalProperties": False},
    },
    "required": ["id"],
    "$defs": {"Part": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    after = copy.deepcopy(BEFORE)
    *way, last = path.split("/")
    place = after
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return after


BREAKING = {
    "a property is gone": ("properties/reason", None),
    "another type": ("properties/id/type", "integer"),
    "a narrower text": ("properties/id/maxLength", 5),
    "a new pattern": ("properties/id/pattern", "^a"),
    "a value is gone": ("properties/reason/enum", ["a"]),
    "a new duty": ("required", ["id", "reason"]),
    "a promise is taken back": ("required", []),
    "a property of a part is gone": ("$defs/Part/properties", {}),
    "another type in a part": ("$defs/Part/properties/n/type", "string"),
    "another part": ("properties/part", {"type": "string"}),
    "other items": ("properties/parts/items", {"type": "string"}),
    "one choice less": ("properties/either/anyOf", [{"type": "string"}]),
    "one choice more": ("properties/either/anyOf", [{"type": "string"}, {"type": "null"}, {"type": "integer"}]),
    "new where the unknown is refused": ("properties/exact/properties", {"new": {"type": "string"}}),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_found(name: str) -> None:
    assert len(breaking_changes(BEFORE, changed(*BREAKING[name]))) >= 1


ADDITIVE = {
    "nothing": ("type", "object"),
    "a property that may be missing": ("properties/new", {"type": "string"}),
    "a property of a part that may be missing": ("$defs/Part/properties/new", {"type": "string"}),
    "a value": ("properties/reason/enum", ["a", "b", "c"]),
    "a definition": ("$defs/New", {"type": "object"}),
    "a text": ("properties/id/description", "what it is"),
}


@pytest.mark.parametrize("name", ADDITIVE)
def test_an_additive_change_passes(name: str) -> None:
    assert breaking_changes(BEFORE, changed(*ADDITIVE[name])) == []


class First(Event):
    request_id: UUID
    note: str = ""

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id,)


class Grown(First):
    more: int | None = None


class Broken(First):
    more: int


def test_writing_takes_what_grows_and_refuses_what_breaks(tmp_path: Any) -> None:
    def declared(event: type[Event]) -> dict[str, Topic]:
        return {"t.v1": Topic("t.v1", event, "request")}

    assert write(tmp_path, declared(First)) == []
    assert check(tmp_path, declared(First)) == []
    assert check(tmp_path, declared(Grown)) == ["t.v1: not current, run python -m libs.contracts.schemas"]
    assert write(tmp_path, declared(Grown)) == []
    before = (tmp_path / "t.v1.json").read_text()
    assert write(tmp_path, declared(First)) == ["t.v1/more: is gone"]
    assert write(tmp_path, declared(Broken))[0].startswith("t.v1/more")
    assert write(tmp_path, {}) == ["t.v1: the topic is gone"]
    assert (tmp_path / "t.v1.json").read_text() == before
    assert write(tmp_path, declared(Broken), replace=True) == []
    assert json.loads((tmp_path / "t.v1.json").read_text()) == schema(declared(Broken)["t.v1"])
