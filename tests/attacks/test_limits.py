"""Guessing, flooding, locking out and borrowing against the running platform, each beside what it does undefended.

In tests/e2e/test_authorisation.py, test_guessing.py: other documents, amount or action; another's challenge or blob.
"""

import contextlib
import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Literal

import pytest

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import AuthorisationSubmitted, SealedChallenge
from libs.gpki_client import GpkiClient
from libs.gpki_client.answers import Status
from libs.gpki_client.device import Device
from libs.runtime.clock import utc_now
from services.igfmas.enrolment import Officer
from tests.support.chain import PIN_PREFIX, Client, Request, papers, wrong
from tests.support.challenges import own_challenge
from tests.support.faults import all_read, frozen, members, twin
from tests.support.mobile import phone_is_known
from tests.support.producers import append, as_service
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

WRONG_PIN = f"{PIN_PREFIX}of-a-thief"
GUESSES = 500


@pytest.fixture
async def officer(client: Client) -> Officer:
    return await client.enrol(algorithm="p-256")


async def states(client: Client, officer: Officer) -> dict[str, int]:
    """What became of every attempt against this officer."""
    rows = await client.database.fetch(
        "SELECT state, count(*) AS number FROM hsm_signer.attempt WHERE credential_id = $1 GROUP BY state",
        officer.credential_id,
    )
    return {row["state"]: row["number"] for row in rows}


async def locked(client: Client, officer: Officer) -> tuple[int, bool]:
    """Wrong PINs in a row, and whether the PIN is locked."""
    row = await client.database.fetchrow(
        "SELECT wrong_pins, locked_at FROM hsm_signer.credential WHERE credential_id = $1", officer.credential_id
    )
    assert row is not None
    return row["wrong_pins"], row["locked_at"] is not None


async def every_attempt_is_decided(client: Client, officer: Officer, expected: int) -> None:
    async def decided() -> bool:
        found = await states(client, officer)
        return not found.get("pending") and sum(found.values()) >= expected

    await eventually(decided, "every attempt is decided", seconds=120)


async def guesses(request: Request, otp: str, pins: Sequence[str]) -> list[AuthorisationSubmitted]:
    """A submission of each PIN, as the gateway would publish it."""
    first, key = await request.submission(otp=otp), await request.client.sealing_key()
    return [
        first.model_copy(
            update={
                "sealed": key.seal_authorisation(pin=pin, otp=otp, request_id=request.id, root=request.pressed.root)
            }
        )
        for pin in pins
    ]


async def published(client: Client, submissions: Sequence[AuthorisationSubmitted]) -> None:
    """With the gateway's key: whoever has it, or sends as much through the gateway."""
    await append(client.stack, *(as_service(client.stack, topics.AUTHORISATION_SUBMITTED, one) for one in submissions))


async def published_at_once(client: Client, submissions: Sequence[AuthorisationSubmitted]) -> None:
    """All of them lie on the broker before the signer reads the first: one poll, or as few as there can be."""
    with frozen(client.stack.pid("hsm_signer")):
        await published(client, submissions)


async def test_a_hundred_submissions_of_one_right_code_at_once_authorise_once(client: Client, officer: Officer) -> None:
    """I-13. And without the row that says so the same code would do it again."""
    request = await client.press(officer, papers(3))
    code = await request.otp()
    submissions = await guesses(request, code, [officer.pin] * 100)
    await published_at_once(client, submissions)
    attempts = {one.attempt for one in submissions}
    assert len(attempts) == 100, "each is sealed anew"
    assert len((await request.end()).posted) == 3
    winner = await client.value("SELECT attempt FROM hsm_signer.request WHERE request_id = $1", request.id)
    losers = [await request.failure(attempt) for attempt in attempts if attempt != winner]
    assert {loser.reason for loser in losers} == {Reason.OTP_USED}
    found = await states(client, officer)
    assert found.pop("right") == 1
    assert found.keys() <= {"void"}, "who was tried beside the right one gave the slot back"
    await client.chain.drain()
    assert all(len(one.signatures) == len(one.records) == 1 for one in request.seen.documents.values())

    await client.database.execute(
        "UPDATE hsm_signer.request SET attempt = NULL, reserved_at = NULL WHERE request_id = $1", request.id
    )
    await client.database.execute("DELETE FROM hsm_signer.document WHERE request_id = $1", request.id)
    await request.submit(otp=code)

    async def twice() -> bool:
        return (await states(client, officer)).get("right") == 2

    await eventually(twice, "undefended, the code authorises a second time")


@pytest.mark.parametrize("replicas", [pytest.param(one, marks=pytest.mark.timeout(300)) for one in (1, 2)])
async def test_five_hundred_pins_at_once_are_three_guesses(client: Client, officer: Officer, replicas: int) -> None:
    """I-11: over four requests of one officer, which two replicas share; the thief has every code, and no PIN."""
    requests = [await client.press(officer, papers(1)) for _ in range(4)]
    codes = [await request.otp() for request in requests]
    # The right one is among them, and comes too late.
    pins = [*(f"{WRONG_PIN}-{number}" for number in range(GUESSES // len(requests) - 1)), officer.pin]
    batches = [await guesses(request, code, pins) for request, code in zip(requests, codes, strict=True)]
    together = [one for ones in zip(*batches, strict=True) for one in ones]
    async with contextlib.AsyncExitStack() as twins:
        if replicas == 1:
            await published_at_once(client, together)
        else:
            await twins.enter_async_context(twin(client.stack, "hsm_signer"))
            await members(client.stack, "hsm_signer", 2)
            await published(client, together)
        for request in requests:
            assert {one.reason for one in (await request.end()).rejected} == {Reason.PIN_LOCKED}
    await members(client.stack, "hsm_signer", 1)
    await every_attempt_is_decided(client, officer, 3)
    assert (await states(client, officer)).get("wrong-pin") == 3
    assert "right" not in await states(client, officer)
    assert await locked(client, officer) == (3, True)
    await all_read(client.stack, seconds=120)  # whoever comes next need not wait behind the rest of the guesses


async def test_without_the_count_a_guesser_finds_the_pin(client: Client, officer: Officer) -> None:
    """I-11, switched off: the same guesses, each forgotten as soon as it was counted."""
    request = await client.press(officer, papers(1))
    code = await request.otp()
    for number in range(6):
        attempt = await request.submit(otp=code, pin=f"{WRONG_PIN}-{number}")
        assert (await request.failure(attempt)).reason is Reason.PIN_INCORRECT
        await client.database.execute("UPDATE hsm_signer.request SET wrong_pins = 0 WHERE request_id = $1", request.id)
        await client.database.execute(
            "UPDATE hsm_signer.credential SET wrong_pins = 0 WHERE credential_id = $1", officer.credential_id
        )
    await request.submit(otp=code)
    assert len((await request.end()).posted) == 1


async def test_brute_force_of_codes_within_every_limit_ends_at_ten_a_day_and_locks_no_pin(
    client: Client, officer: Officer
) -> None:
    """I-45: four wrong codes a request end no request; the tenth of the day holds the officer's codes."""
    tried = 0
    while tried < 10:
        request = await client.press(officer, papers(1))
        code = await request.otp()
        for _ in range(min(4, 10 - tried)):
            failed = await request.failure(await request.submit(otp=wrong(code), pin=WRONG_PIN))
            assert failed.reason is Reason.OTP_INCORRECT
            tried += 1
    assert failed.attempts_left == 0
    assert failed.held_until is not None
    assert {one.reason for one in (await request.end()).rejected} == {Reason.OTP_HELD}
    assert await states(client, officer) == {"wrong-otp": 10}
    assert await locked(client, officer) == (0, False)
    await told_in_both_languages(client, request)

    await eventually(lambda: _is_held(client, officer), "otp_dispatch has heard of the hold")
    refused = await client.press(officer, papers(1))
    (end,) = (await refused.end()).rejected
    assert (end.stage, end.reason, end.safe_to_retry) == ("otp_dispatch", Reason.OTP_HELD, True)

    # Undefended: were the ten of another day, the eleventh would be tried.
    await client.database.execute("UPDATE otp_dispatch.officer SET held_until = NULL WHERE user_id = $1", officer.user)
    await client.database.execute(
        "UPDATE hsm_signer.attempt SET taken_at = taken_at - interval '1 day' WHERE credential_id = $1",
        officer.credential_id,
    )
    later = await client.press(officer, papers(1))
    code = await later.otp()
    eleventh = await later.failure(await later.submit(otp=wrong(code)))
    assert (eleventh.reason, eleventh.attempts_left) == (Reason.OTP_INCORRECT, 4)
    await later.authorise(otp=code)
    assert len((await later.end()).posted) == 1


async def test_nobody_locks_a_pin_without_the_code(client: Client, officer: Officer) -> None:
    """I-12: forty wrong PINs beside a wrong code; then the officer signs, and only who has the code can lock."""
    pins = [f"{WRONG_PIN}-{number}" for number in range(40)]
    request = await client.press(officer, papers(1))
    await published_at_once(client, await guesses(request, wrong(await request.otp()), pins))
    assert {one.reason for one in (await request.end()).rejected} == {Reason.TOO_MANY_WRONG_OTP}
    assert await states(client, officer) == {"wrong-otp": 5}
    assert await locked(client, officer) == (0, False)
    assert len((await (await client.press(officer, papers(1))).sign()).posted) == 1
    undefended = await client.press(officer, papers(1))
    await published_at_once(client, await guesses(undefended, await undefended.otp(), pins))
    assert {one.reason for one in (await undefended.end()).rejected} == {Reason.PIN_LOCKED}
    assert await locked(client, officer) == (3, True)


async def test_another_officers_challenge_or_request_signs_nothing_with_ones_own_pin(
    client: Client, officer: Officer
) -> None:
    """I-12: X is in the next room, and Y knows X's code."""
    other = await client.enrol(algorithm="p-256")
    mine, theirs = await client.press(officer, papers(1)), await client.press(other, papers(1))
    code, _ = await theirs.otp(), await mine.otp()
    dispatched = await theirs.dispatched()
    challenge = SealedChallenge(sealing_key_id=dispatched.sealing_key_id, sealed=dispatched.challenge)
    borrowed = await mine.failure(await mine.submit(otp=code, pin=officer.pin, challenges=[challenge]))
    assert borrowed.reason is Reason.CHALLENGE_INVALID
    impersonated = await theirs.failure(await theirs.submit(otp=code, pin=officer.pin))
    assert impersonated.reason is Reason.PIN_INCORRECT
    # Undefended, were a challenge not bound to its request, the same code would open Y's:
    unbound = own_challenge(client, mine, await mine.dispatched(), otp=code, age=timedelta())
    await mine.submit(otp=code, pin=officer.pin, challenges=[unbound])
    assert len((await mine.end()).posted) == 1
    await theirs.authorise(otp=code)
    assert len((await theirs.end()).posted) == 1


async def test_not_me_stops_the_request_and_holds_the_next_code(client: Client, officer: Officer) -> None:
    """I-47: the thief has the session in iGFMAS, the PIN, even the code; the officer has the phone."""
    device, thief = Device.new(), Device.new()
    await client.desk.register(officer, device)
    await phone_is_known(client, officer.user, device.device_id)
    request = await client.press(officer, papers(1))
    dispatched = await request.dispatched()
    async with client.stack.mobile(device, officer.user) as phone:
        code = (await phone.message(dispatched.reference_code, seconds=60)).otp
        client.otps.add(code)
        (message,) = await phone.messages()
        async with client.stack.http() as http:
            forged = await http.post(
                f"/v1/devices/{device.device_id}/not-me",
                json=thief.not_me(message, officer.user, at=utc_now()),
                headers={"Authorization": f"Bearer {device.assertion(officer.user, at=utc_now())}"},
            )
        assert (forged.status_code, forged.json()["code"]) == (401, "unauthorised")
        assert request.seen.ended is None
        await phone.not_me(message)
        await phone.not_me(message)
    (end,) = (await request.end()).rejected
    assert (end.stage, end.reason, end.safe_to_retry) == ("hsm_signer", Reason.NOT_ME, False)
    late = await request.failure(await request.submit(otp=code))
    assert late.reason is Reason.NOT_ME
    await eventually(lambda: _is_held(client, officer), "otp_dispatch has heard of it")
    again = await client.press(officer, papers(1))
    assert {one.reason for one in (await again.end()).rejected} == {Reason.OTP_HELD}
    log = client.stack.layout.log("hsm_signer").read_text()
    assert any(json.loads(line).get("alarm") == "not-me" for line in log.splitlines() if str(request.id) in line)
    # Undefended, had nobody said so, the code in the thief's hand would have signed.
    await client.database.execute("UPDATE otp_dispatch.officer SET held_until = NULL WHERE user_id = $1", officer.user)
    silent = await client.press(officer, papers(1))
    await silent.dispatched()
    async with client.stack.mobile(device, officer.user) as phone:
        code = (await phone.message((await silent.dispatched()).reference_code, seconds=60)).otp
    client.otps.add(code)
    await silent.authorise(otp=code)
    assert len((await silent.end()).posted) == 1


async def told_in_both_languages(client: Client, request: Request) -> None:
    """When the hold ends, in words and for a machine."""
    words: dict[Literal["ms", "en"], str] = {"ms": "(waktu Malaysia)", "en": "(Malaysia time)"}
    for language, zone in words.items():
        own = client.stack.gpki(client.caller, language=language)
        async with own as gateway:
            status = await eventually(partial(_rejected, gateway, request), "the gateway knows it too")
        (rejection,) = status.rejections
        assert rejection.explanation is not None
        assert rejection.held_until == rejection.explanation.held_until is not None
        assert zone in rejection.explanation.detail
        assert "–" not in rejection.explanation.detail


async def _is_held(client: Client, officer: Officer) -> bool:
    query = "SELECT held_until > now() FROM otp_dispatch.officer WHERE user_id = $1"
    return bool(await client.value(query, officer.user))


async def _rejected(gateway: GpkiClient, request: Request) -> Status | None:
    status = await gateway.status(request.id, request.officer.user)
    return status if status.rejections else None
