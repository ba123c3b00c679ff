"""Ids are RFC 9562 UUIDv5, however fast they are made."""

from uuid import uuid5

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import GPKI_NAMESPACE, event_id_of, request_id_of

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts, st.lists(texts | st.integers() | st.uuids(), max_size=4))
def test_an_event_id_is_the_uuid5_of_its_parts(kind: str, parts: list[object]) -> None:
    made = event_id_of(kind, *parts)
    assert made == uuid5(GPKI_NAMESPACE, "\x1f".join([kind, *map(str, parts)]))
    assert made.version == 5


@given(texts, texts)
def test_a_request_id_is_the_callers_own(caller: str, number: str) -> None:
    assert request_id_of(caller, number) == uuid5(uuid5(GPKI_NAMESPACE, caller), number)


@given(st.tuples(texts, texts), st.tuples(texts, texts))
def test_two_callers_never_meet(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (request_id_of(*one) == request_id_of(*other)) == (one == other)
