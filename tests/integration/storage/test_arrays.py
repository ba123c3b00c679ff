"""Arrays of parameters, whose elements asyncpg asks by types here whether they are arrays themselves."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from asyncpg.exceptions import DataError
from asyncpg.protocol import protocol

from libs.contracts.ids import event_id_of
from tests.support.bus import Room

pytestmark = pytest.mark.stack

ID = uuid4()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["a", "", "{b}", None]),
        ("bytea", [b"a", b"", None]),
        ("uuid", (ID, event_id_of("an event"), None)),
        ("bigint", [1, None]),
        ("text", [["a", "b"], ["c", "d"]]),
        ("uuid", {ID}),
        ("uuid", frozenset({ID})),
        ("text", []),
    ],
)
async def test_an_array_comes_back_as_it_was(room: Room, kind: str, values: Any) -> None:
    found = await room.pool.fetchval(f"SELECT $1::{kind}[]", values)
    assert found == list(values)


async def test_what_is_no_array_is_refused(room: Room) -> None:
    one_by_one: Iterator[str] = iter("ab")
    for value in ("ab", {"a": 1}, {"a": 1}.keys(), one_by_one):
        with pytest.raises(DataError, match="sized iterable container expected"):
            await room.pool.fetchval("SELECT $1::text[]", value)


async def test_asyncpg_asks_by_the_name_that_the_pool_gives_types(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    assert protocol.IterableABC == (list, tuple, set, frozenset)  # type: ignore[attr-defined]
    asked: list[object] = []

    class Asked(type):
        def __instancecheck__(cls, value: object) -> bool:
            asked.append(value)
            return isinstance(value, list)

    class Container(metaclass=Asked):
        pass

    monkeypatch.setattr(protocol, "IterableABC", Container)
    assert await room.pool.fetchval("SELECT $1::uuid[]", [ID]) == [ID]
    assert asked[-2:] == [[ID], ID], "the array, then what is in it"
