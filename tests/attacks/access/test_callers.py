"""What one caller may not do to another, or beyond its own offices; each attack works once its defence is away."""

import json
from functools import partial
from typing import Any
from uuid import uuid4

import jwt
import pytest

from libs.bus import admission
from libs.contracts.problems import ProblemCode
from libs.contracts.reasons import Reason
from services.gateway import access, media, starting
from services.gateway.authentication import Caller as Admitted
from services.medium_lookup import handlers
from tests.integration.gateway.conftest import Door, code_of
from tests.integration.medium_lookup.conftest import Lookup
from tests.support.requests import Caller, documents, header, key_id, key_state, new_user, requested, user_state
from tests.support.waiting import eventually

OWN, OTHER = "AG-JB-02", "AG-KL-01"
"""Offices: the limited caller's, and the one that every other test is in."""


def anybody(*_: object) -> bool:
    """A defence that is switched off."""
    return True


async def limited(door: Door) -> Caller:
    """A caller whose certificate names one office."""
    found = door.pki.caller(offices=[OWN])
    await door.tell(key_state(found, "caller", "igfmas", door.pki))
    return found


async def officer_of(door: Door, office: str) -> str:
    """An officer whom the gateway knows."""
    user = user_state(new_user(), office=office, credential_id=None)
    await door.room.send(door.routes.user, [user])

    async def known() -> bool:
        query = "select 1 from user_state where user_id = $1"
        return await door.room.pool.fetchval(query, user.user) is not None

    await eventually(known, "the officer is known")
    return user.user


async def asked(door: Door, caller: Caller, user: str, office: str = OWN) -> ProblemCode | int:
    """A signing of one document for this officer, by this caller: the answer's code."""
    event = requested(header(user, office=office), documents(1), caller)
    answer = await (await door.connections.of(caller)).post(
        "/v1/signings",
        content=event.model_dump_json().encode(),
        headers={"Authorization": f"Bearer {door.token(user, caller=caller)}", "Idempotency-Key": uuid4().hex},
    )
    return code_of(answer) if answer.is_error else answer.status_code


async def test_a_caller_learns_nothing_of_an_officer_of_another_office(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADM-2, I-48."""
    caller, mine, other = await limited(door), await officer_of(door, OWN), await officer_of(door, OTHER)

    async def medium(user: str) -> int:
        return (await door.get(f"/v1/users/{user}/medium", door.token(user, caller=caller))).status_code

    assert (await medium(mine), await medium(other), await medium(new_user())) == (200, 404, 404)
    monkeypatch.setattr(media, "may_ask", anybody)
    assert await medium(other) == 200


async def test_a_caller_starts_nothing_for_an_officer_of_another_office_over_http(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-48: it says one of its own offices, and asks for an officer who is in none of them."""
    caller, mine, other = await limited(door), await officer_of(door, OWN), await officer_of(door, OTHER)
    assert await asked(door, caller, mine) == 202
    assert await asked(door, caller, mine, OTHER) is ProblemCode.CALLER_NOT_ALLOWED
    assert await asked(door, caller, other) is ProblemCode.CALLER_NOT_ALLOWED
    assert await asked(door, caller, new_user()) == 202  # unknown here is not "no": medium_lookup says which
    monkeypatch.setattr(starting, "may_ask", anybody)
    assert await asked(door, caller, other) == 202


@pytest.mark.parametrize("defended", [True, False])
async def test_a_caller_starts_nothing_for_an_officer_of_another_office_over_kafka(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """I-48."""
    if not defended:
        monkeypatch.setattr(handlers, "may_ask", anybody)
    caller = lookup.pki.caller(offices=[OWN])
    await lookup.tell(lookup.routes.keys, key_state(caller, "caller", "igfmas", lookup.pki))
    mine, other = await lookup.user(office=OWN), await lookup.user(office=OTHER)
    events = [requested(header(user.user, office=OWN), documents(1), caller) for user in (mine, other)]
    await lookup.room.send(lookup.routes.requested, events)
    await lookup.handled(2)
    resolved = {str(one.request_id) for one in lookup.resolved()}
    assert (events[0].key in resolved, events[1].key in resolved) == (True, not defended)
    refused = [one.reason for one in lookup.rejected(events[1].identity()[0])]
    assert refused == ([Reason.CALLER_NOT_ALLOWED] if defended else [])


async def test_the_id_of_anothers_request_opens_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id is no credential; tests/integration/gateway/test_access.py has every route of it."""
    event = await door.awaiting()
    user = event.signed.manifest.header.user
    thief = door.pki.caller("etanah", system="eTanah")
    await door.tell(key_state(thief, "caller", "etanah", door.pki))
    paths = [f"/v1/signings/{event.request_id}", f"/v1/signings/{event.request_id}/events"]

    async def stolen() -> list[int]:
        tokens = [door.token(user, caller=thief, iss="etanah") for _ in paths]
        return [
            (await door.get(path, token, Accept="application/json")).status_code
            for path, token in zip(paths[:1], tokens, strict=False)
        ]

    assert await stolen() == [404]
    assert (await door.get(paths[1], door.token(user, caller=thief, iss="etanah"))).status_code == 404
    assert (await door.get(paths[0], door.token(new_user()))).status_code == 404
    monkeypatch.setattr(Admitted, "owns", anybody)
    assert await stolen() == [200]


async def test_a_token_that_was_overheard_is_worth_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7523 section 3, item 7: a `jti` counts once."""
    event = await door.awaiting()
    path, token = f"/v1/signings/{event.request_id}", door.token(event.signed.manifest.header.user)
    assert (await door.get(path, token)).status_code == 200
    assert [(await door.get(path, token)).status_code for _ in range(10)] == [401] * 10

    async def forgets(*_: object) -> None:
        """No memory of what was used."""

    monkeypatch.setattr(access, "use_up", forgets)
    assert (await door.get(path, token)).status_code == 200


async def test_a_callers_claims_open_no_more_than_its_key_says(door: Door) -> None:
    """Who calls is what the key's certificate says: a caller that names another, or an office, wins nothing by it."""
    caller, other = await limited(door), await officer_of(door, OTHER)
    path = f"/v1/users/{other}/medium"
    for claims in ({"offices": [OTHER]}, {"scope": "*"}, {"iss": "etanah"}, {"client_id": "etanah"}):
        answer = await door.get(path, door.token(other, caller=caller, **claims))
        assert answer.status_code in {401, 404}, json.dumps(claims)


async def test_what_no_registered_key_signed_is_no_call(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8725 section 3.1: the algorithm is the key's; `none`, a password and a borrowed `kid` open nothing."""
    event = await door.awaiting()
    user, path = event.signed.manifest.header.user, f"/v1/signings/{event.request_id}"

    def forged(**how: Any) -> str:
        genuine = jwt.decode(door.token(user), options={"verify_signature": False})
        return jwt.encode(genuine, **{"headers": {"kid": key_id(door.caller)}, **how})

    stranger = door.pki.caller()
    tokens = [
        lambda: forged(key=None, algorithm="none"),
        lambda: forged(key="x" * 32, algorithm="HS256"),
        lambda: forged(key=stranger.key, algorithm="EdDSA"),
        lambda: door.token(user, caller=stranger),
    ]
    assert [(await door.get(path, make())).status_code for make in tokens] == [401] * len(tokens)
    claims = partial(jwt.decode, options={"verify_signature": False})
    monkeypatch.setattr(jwt, "decode", lambda token, *_args, **_kwargs: claims(token))
    assert [(await door.get(path, make())).status_code for make in tokens[:3]] == [200] * 3


async def test_nobody_takes_back_the_request_of_another(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-23: another officer of the same caller, and another caller, know its id."""
    event = await door.awaiting()
    thief = door.pki.caller("etanah", system="eTanah")
    await door.tell(key_state(thief, "caller", "etanah", door.pki))

    async def taken_back() -> list[int]:
        own = event.signed.manifest.header.user
        calls = [
            await door.cancel(event, uuid4().hex, user=new_user()),
            await door.cancel(event, uuid4().hex, user=own, caller=thief, iss="etanah"),
        ]
        return [answer.status_code for answer in calls]

    assert await taken_back() == [404, 404]
    assert await door.cancels(event) == []
    monkeypatch.setattr(Admitted, "owns", anybody)
    assert await taken_back() == [202, 202]
    assert len(await door.cancels(event)) == 2


FORGERIES = {
    "unsigned": ("vouches", lambda *_args, **_kwargs: True),
    "of another's system": ("_foreign", lambda *_: None),
    "of another office": ("_foreign", lambda *_: None),
}
"""What a caller, or who can write the broker, sends as `requested`, and the check that refuses it."""


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("defended", [True, False])
async def test_nobody_asks_in_a_callers_name_over_kafka(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch, forgery: str, defended: bool
) -> None:
    """Who writes the broker has no caller's key; a caller has its own, which names its system and offices."""
    caller = lookup.pki.caller(offices=[OWN])
    await lookup.tell(lookup.routes.keys, key_state(caller, "caller", "igfmas", lookup.pki))
    officer = await lookup.user(office=OWN)
    named = {"of another's system": {"system": "eTanah"}, "of another office": {"office": OTHER}}.get(forgery, {})
    event = requested(header(officer.user, **{"office": OWN, **named}), documents(1), caller)
    if forgery == "unsigned":
        event = event.model_copy(update={"signature": b"x" * 64})
    if not defended:
        name, nothing = FORGERIES[forgery]
        monkeypatch.setattr(admission, name, nothing)
    await lookup.room.send(lookup.routes.requested, [event])
    await lookup.handled(1)
    assert len(lookup.resolved()) == (not defended)
    refused = [one.reason for one in lookup.rejected(event.identity()[0])]
    put_aside = lookup.dead_letters()
    if defended:
        unsigned = forgery == "unsigned"
        assert refused == ([] if unsigned else [Reason.CALLER_NOT_ALLOWED])
        assert put_aside == ([Reason.CALLER_SIGNATURE_INVALID] if unsigned else [])
