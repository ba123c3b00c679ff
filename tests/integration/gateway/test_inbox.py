"""GPKI Mobile's inbox: what is sealed to a device is told to that device, by its own key, and to nobody else."""

from datetime import timedelta
from uuid import uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.contracts.notice import OfficerTold
from libs.contracts.problems import ProblemCode
from libs.contracts.signing import OtpDispatched
from libs.runtime.clock import utc_now
from libs.storage import state
from services.gateway.inbox import NOTICES_KEPT
from services.gateway.inbox_schemas import Messages, Notices
from tests.integration.gateway.conftest import Door, code_of, dispatched
from tests.support.devices import Phone
from tests.support.requests import documents, header, medium_resolved, new_user, user_state
from tests.support.waiting import eventually


async def registered(door: Door, user: str, phone: Phone, *, version: int = 1) -> Phone:
    """The phone is this user's, and the gateway knows it."""
    told = user_state(user, version=version, device=phone.state, channels=("gpki-mobile", "e-mail"))
    await door.room.send(door.routes.user, [told])

    async def known() -> bool:
        async with door.room.pool.acquire() as connection:
            found = await state.user(connection, user)
        return found is not None and found.version == version

    await eventually(known, "the phone is known")
    return phone


async def delivered(door: Door, user: str, phone: Phone, *messages: bytes, live: bool = True) -> list[OtpDispatched]:
    """These messages are in the phone's inbox, one request each; others before them were told to the gateway too."""
    expires = utc_now() + timedelta(minutes=5 if live else -5)
    events = []
    for message in messages:
        event = medium_resolved(header(user), documents(1), door.caller)
        code = dispatched(event, expires=expires)
        events.append(code.model_copy(update={"device_id": phone.device_id, "message": message}))
        await door.room.send(door.routes.medium_resolved, [event])
        await door.room.send(door.routes.otp_dispatched, events[-1:])
        await door.until(event.signed.manifest.header, lambda status: status.dispatches, "the delivery")
    return events


async def look(door: Door, phone: Phone, token: str | None) -> httpx.Response:
    return await door.get(f"/v1/devices/{phone.device_id}/messages", token)


async def test_a_device_is_told_its_own_live_messages_the_newest_last(door: Door) -> None:
    """I-27."""
    user, other = new_user(), new_user()
    phone, others = await registered(door, user, Phone()), await registered(door, other, Phone())
    await delivered(door, user, phone, b"expired", live=False)
    events = await delivered(door, user, phone, b"first", b"second")
    await delivered(door, other, others, b"of another")
    answer = await look(door, phone, phone.token(user))
    assert answer.status_code == 200, answer.text
    messages = Messages.model_validate_json(answer.content).messages
    assert [one.message for one in messages] == [b"first", b"second"]
    assert [(one.request_id, one.number) for one in messages] == [(one.request_id, 1) for one in events]


async def test_whoever_is_not_the_registered_device_is_refused(door: Door) -> None:
    """I-27: a stranger's key, a caller, a user of another device, a token used twice or too old, a replaced device."""
    user, other = new_user(), new_user()
    phone, others = await registered(door, user, Phone()), await registered(door, other, Phone())
    await delivered(door, user, phone, b"for the phone alone")
    once, long_ago = phone.token(user), int(utc_now().timestamp()) - 600
    assert (await look(door, phone, once)).status_code == 200
    refused = [
        None,
        once,
        "no token at all",
        door.token(user),
        phone.token(user, key=Ed25519PrivateKey.generate()),
        phone.token(other),
        others.token(user),
        others.token(user, kid=phone.device_id, iss=phone.device_id),
        phone.token(user, aud="another"),
        phone.token(user, iat=long_ago, exp=long_ago + 50),
        phone.token(user, iat=None),
        phone.token(new_user()),
    ]
    codes = [code_of(await look(door, phone, token)) for token in refused]
    assert codes == [ProblemCode.UNAUTHORISED] * len(refused)
    elsewhere = await look(door, phone, others.token(other))
    assert (elsewhere.status_code, code_of(elsewhere)) == (404, ProblemCode.NOT_FOUND)

    new = await registered(door, user, Phone(), version=2)
    assert code_of(await look(door, phone, phone.token(user))) is ProblemCode.UNAUTHORISED
    empty = await look(door, new, new.token(user))
    assert Messages.model_validate_json(empty.content).messages == (), "what was sealed to the old one stays its own"


async def test_what_is_no_device_id_is_refused_and_not_repeated(door: Door) -> None:
    phone = Phone()
    canary = f"not-a-device-{uuid4().hex}"
    answer = await door.get(f"/v1/devices/{canary}/messages", phone.token(new_user()))
    assert code_of(answer) is ProblemCode.BODY_INVALID
    assert canary not in answer.text


async def told(door: Door, user: str, phone: Phone, *messages: bytes, age: timedelta = timedelta()) -> None:
    """The phone was told of changes, one after the other; what comes twice is told once."""
    at = utc_now() - age
    events = [
        OfficerTold(notice=uuid4(), user=user, device=phone.state, told_at=at + timedelta(seconds=n), message=message)
        for n, message in enumerate(messages)
    ]
    before = sum((await door.room.committed(door.routes.officer_told)).values())
    await door.room.send(door.routes.officer_told, [*events, *events])
    await door.room.all_committed(door.routes.officer_told, before + 2 * len(events))


async def test_what_a_device_was_told_of_changes_it_reads_also_after_it_was_replaced_and_codes_no_more(
    door: Door,
) -> None:
    """I-27, I-55."""
    user, other = new_user(), new_user()
    old, stranger = await registered(door, user, Phone()), await registered(door, other, Phone())
    await delivered(door, user, old, b"a code")
    await told(door, other, stranger, b"of another")
    await told(door, user, old, b"first", b"second")

    async def notices(phone: Phone, token: str | None) -> httpx.Response:
        return await door.get(f"/v1/devices/{phone.device_id}/notices", token)

    before = await notices(old, old.token(user))
    new = await registered(door, user, Phone(), version=2)
    used = old.token(user)
    after = await notices(old, used)
    for answer in (before, after):
        assert answer.status_code == 200, answer.text
        assert [one.message for one in Notices.model_validate_json(answer.content).notices] == [b"first", b"second"]
    assert (await look(door, old, old.token(user))).status_code == 401, "its codes are closed"
    forged = old.token(user, key=Ed25519PrivateKey.generate())
    for token in (None, used, forged, old.token(other), stranger.token(user), door.token(user)):
        assert (await notices(old, token)).status_code == 401
    assert (await notices(old, new.token(user))).status_code == 404
    assert Notices.model_validate_json((await notices(new, new.token(user))).content).notices == ()


async def test_a_device_that_was_replaced_long_ago_is_nobody_here(door: Door) -> None:
    """I-27."""
    user, old = new_user(), Phone()
    await registered(door, user, old)
    await told(door, user, old, b"long ago", age=NOTICES_KEPT + timedelta(hours=1))
    await registered(door, user, Phone(), version=2)
    assert (await door.get(f"/v1/devices/{old.device_id}/notices", old.token(user))).status_code == 401
