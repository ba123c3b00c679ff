"""The signer's authorisation seen from outside: what counts, what ends a request, and what nobody can bring about."""

import asyncio
import secrets
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from libs.contracts import topics
from libs.contracts.manifest import Manifest
from libs.contracts.reasons import Reason
from libs.contracts.signing import SealedChallenge
from libs.crypto.requests import read_signing_key
from libs.crypto.sealing import PURPOSE_AUTHORISATION, seal, sealing_info
from libs.gpki_client import Problem
from services.igfmas.enrolment import Officer
from services.igfmas.keys import CALLER_KEY
from tests.support.chain import PIN_PREFIX, Client, Request, papers, signed_manifest, wrong
from tests.support.challenges import own_challenge
from tests.support.journal import dead_letters
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

WRONG_PIN = f"{PIN_PREFIX}of-somebody-else"


@pytest.fixture
async def officer(client: Client) -> Officer:
    """An officer of this test's own: what is counted here is counted for nobody else."""
    return await client.enrol(algorithm="p-256")


async def wrong_pins(client: Client, officer: Officer) -> int:
    found: int = await client.value(
        "SELECT wrong_pins FROM hsm_signer.credential WHERE credential_id = $1", officer.credential_id
    )
    return found


async def wrong_otps(client: Client, request: Request) -> int:
    found: int = await client.value("SELECT wrong_otps FROM hsm_signer.request WHERE request_id = $1", request.id)
    return found


async def attempts(client: Client, request: Request) -> dict[str, int]:
    rows = await client.database.fetch(
        "SELECT state, count(*) AS number FROM hsm_signer.attempt WHERE request_id = $1 GROUP BY state", request.id
    )
    return {row["state"]: row["number"] for row in rows}


async def nothing_was_signed(request: Request) -> bool:
    await request.client.chain.drain()
    return not any(document.signatures for document in request.seen.documents.values())


async def is_too_late(request: Request, code: str, reason: Reason) -> None:
    """The gateway does not take it; and the signer, were it to come all the same, does not do it."""

    async def known() -> bool:
        return (await request.client.gateway.status(request.id, request.officer.user)).state in ("ending", "completed")

    await eventually(known, "the gateway has heard of the end too")
    with pytest.raises(Problem) as refused:
        await request.authorise(otp=code)
    assert (refused.value.status, refused.value.code) == (409, "authorisation-too-late")
    assert (await request.failure(await request.submit(otp=code))).reason is reason


async def test_the_fifth_wrong_code_ends_the_request_and_no_pin_was_counted(client: Client, officer: Officer) -> None:
    """I-12: a wrong code, beside a right PIN or a wrong one, leaves the PIN untried."""
    request = await client.press(officer, papers(2))
    code = await request.otp()
    left = []
    for number in range(5):
        pin = officer.pin if number % 2 else WRONG_PIN
        failed = await request.failure(await request.authorise(otp=wrong(code), pin=pin))
        assert failed.reason in {Reason.OTP_INCORRECT, Reason.TOO_MANY_WRONG_OTP}
        left.append(failed.attempts_left)
        assert await wrong_pins(client, officer) == 0
    completed = await request.end()
    assert left == [4, 3, 2, 1, 0]
    assert {one.reason for one in completed.rejected} == {Reason.TOO_MANY_WRONG_OTP}
    await is_too_late(request, code, Reason.TOO_MANY_WRONG_OTP)
    assert await nothing_was_signed(request)


async def test_the_third_wrong_pin_locks_it_for_every_later_request(client: Client, officer: Officer) -> None:
    request = await client.press(officer, papers(1))
    code = await request.otp()
    for expected in (1, 2, 3):
        failed = await request.failure(await request.authorise(otp=code, pin=WRONG_PIN))
        assert failed.reason is Reason.PIN_INCORRECT
        assert failed.attempts_left == 3 - expected
        assert await wrong_pins(client, officer) == expected
    ended = await request.end()
    assert {one.reason for one in ended.rejected} == {Reason.PIN_LOCKED}

    later = await client.press(officer, papers(1))
    await later.authorise(otp=await later.otp())  # both right, and too late
    assert {one.reason for one in (await later.end()).rejected} == {Reason.PIN_LOCKED}
    assert await nothing_was_signed(request)
    assert await nothing_was_signed(later)


async def test_a_right_pin_after_a_wrong_one_signs_and_forgets_it(client: Client, officer: Officer) -> None:
    request = await client.press(officer, papers(1))
    code = await request.otp()
    assert (await request.failure(await request.authorise(otp=code, pin=WRONG_PIN))).reason is Reason.PIN_INCORRECT
    await request.authorise(otp=code)
    assert len((await request.end()).posted) == 1
    assert await wrong_pins(client, officer) == 0


async def test_twenty_wrong_pins_at_once_are_at_most_three_tries(client: Client, officer: Officer) -> None:
    """I-11: attempts under way count as wrong."""
    request = await client.press(officer, papers(1))
    code = await request.otp()
    submitted = await asyncio.gather(*(request.submit(otp=code, pin=f"{WRONG_PIN}-{number}") for number in range(20)))
    completed = await request.end()
    assert {one.reason for one in completed.rejected} == {Reason.PIN_LOCKED}
    await asyncio.gather(*(request.failure(attempt) for attempt in submitted))
    assert (await attempts(client, request)) == {"wrong-pin": 3}
    assert await wrong_pins(client, officer) == 3
    assert await nothing_was_signed(request)


async def test_two_right_submissions_at_once_are_one_authorisation(client: Client, officer: Officer) -> None:
    """I-13: a request is authorised once, with all its documents."""
    request = await client.press(officer, papers(30))
    code = await request.otp()
    # Past the gateway, which would call the second too late once it has heard of the first.
    submitted = await asyncio.gather(*(request.submit(otp=code) for _ in range(2)))
    assert len(set(submitted)) == 2
    completed = await request.end()
    assert len(completed.posted) == 30
    (loser,) = [
        attempt
        for attempt in submitted
        if attempt != await client.value("SELECT attempt FROM hsm_signer.request WHERE request_id = $1", request.id)
    ]
    assert (await request.failure(loser)).reason is Reason.OTP_USED
    assert (await attempts(client, request)).get("right") == 1
    await client.chain.drain()
    assert all(len(document.signatures) == len(document.records) == 1 for document in request.seen.documents.values())


async def test_an_expired_code_is_told_and_not_counted(client: Client, officer: Officer) -> None:
    request = await client.press(officer, papers(1))
    own = own_challenge(client, request, await request.dispatched(), otp="123456", age=timedelta(minutes=11))
    failed = await request.failure(await request.submit(otp="123456", pin=WRONG_PIN, challenges=[own]))
    assert failed.reason is Reason.OTP_EXPIRED
    assert await wrong_otps(client, request) == await wrong_pins(client, officer) == 0
    fresh = own_challenge(client, request, await request.dispatched(), otp="654321", age=timedelta())
    await request.submit(otp="654321", challenges=[fresh])
    assert len((await request.end()).posted) == 1, "the same challenge, but in time, authorises"


async def test_a_challenge_of_another_request_or_of_another_hand_is_worth_nothing(
    client: Client, officer: Officer
) -> None:
    mine, other = await asyncio.gather(client.press(officer, papers(1)), client.press(officer, papers(1)))
    dispatched, code = await other.dispatched(), await other.otp()
    stolen = SealedChallenge(sealing_key_id=dispatched.sealing_key_id, sealed=dispatched.challenge)
    caller = read_signing_key((client.stack.layout.secrets("igfmas") / CALLER_KEY).read_bytes())
    forged = own_challenge(client, mine, await mine.dispatched(), otp="111111", age=timedelta(), producer=caller)
    for otp, challenge in ((code, stolen), ("111111", forged)):
        failed = await mine.failure(await mine.submit(otp=otp, challenges=[challenge]))
        assert failed.reason is Reason.CHALLENGE_INVALID
        assert not failed.safe_to_retry
    assert await wrong_otps(client, mine) == await wrong_pins(client, officer) == 0
    assert (await attempts(client, mine)) == {"void": 2}
    assert await nothing_was_signed(mine)
    assert len((await mine.sign()).posted) == 1, "nothing was ended by it"


@pytest.mark.parametrize(
    "change", ["one document more", "one fewer", "another order", "another amount", "another digest", "another action"]
)
async def test_other_documents_than_the_code_was_sent_for_are_never_signed(
    client: Client, officer: Officer, change: str
) -> None:
    """SCAL2: signed by the caller as it should be, and sealed to the new root; only the code is of the old one."""
    request = await client.press(officer, papers(2))
    code = await request.otp()
    documents = list(request.manifest.documents)
    if change == "one document more":
        documents.append(papers(1)[0].entry)
    elif change == "one fewer":
        documents.pop()
    elif change == "another order":
        documents.reverse()
    elif change == "another amount":
        documents[0] = replace(documents[0], amount="99999.00")
    elif change == "another digest":  # one bit of it
        documents[0] = replace(documents[0], sha256=f"{int(documents[0].sha256, 16) ^ 1:064x}")
    action = "peraku" if change == "another action" else "sah"
    head = request.manifest.header.model_copy(update={"count": str(len(documents)), "action": action})
    changed = Manifest(header=head, documents=tuple(documents))
    key = await client.sealing_key()
    known = "SELECT count(*) FROM hsm_signer.request WHERE request_id = $1"
    await eventually(lambda: client.value(known, request.id), "the signer has heard of it, and not of the change first")
    for signed in (signed_manifest(client.caller, changed), request.signed.model_copy(update={"manifest": changed})):
        sealed = key.seal_authorisation(
            pin=officer.pin, otp=code, request_id=request.id, root=changed.commitment().root
        )
        await request.submit(sealed=sealed, signed=signed)

    letters = await dead_letters(client.stack, topics.AUTHORISATION_SUBMITTED, request.id, count=2)
    assert len(letters) == 2
    assert await nothing_was_signed(request)
    assert await wrong_otps(client, request) == await wrong_pins(client, officer) == 0
    await request.authorise(otp=code)
    assert [one.document_id for one in (await request.end()).posted] == [paper.entry.id for paper in request.papers]


async def test_what_cannot_be_opened_is_told_and_not_counted(client: Client, officer: Officer) -> None:
    request = await client.press(officer, papers(1))
    key = await client.sealing_key()
    info = sealing_info(PURPOSE_AUTHORISATION, str(request.id), request.pressed.root, key.key_id)
    cases = (
        ({"key_id": "00" * 32}, Reason.SEAL_EXPIRED),
        ({"sealed": secrets.token_bytes(313)}, Reason.SEAL_INVALID),
        ({"sealed": seal(b"not two factors", key.public_key, info)}, Reason.SEAL_INVALID),
    )
    for parts, reason in cases:
        assert (await request.failure(await request.submit(**parts))).reason is reason
    assert await wrong_otps(client, request) == await wrong_pins(client, officer) == 0
    assert await attempts(client, request) == {"void": 3}
    assert len((await request.sign()).posted) == 1


async def test_a_blob_of_another_request_opens_in_no_other(client: Client, officer: Officer) -> None:
    """I-10: bound to request and root."""
    first, second = await asyncio.gather(client.press(officer, papers(1)), client.press(officer, papers(1)))
    code = await second.otp()
    taken = (await first.submission(otp=code)).sealed
    assert (await second.failure(await second.submit(sealed=taken))).reason is Reason.SEAL_INVALID
    assert await attempts(client, second) == {"void": 1}


async def test_a_request_that_nobody_authorises_expires(client: Client, officer: Officer) -> None:
    request = await client.press(officer, papers(2))
    code = await request.otp()
    dispatched = "SELECT dispatched FROM hsm_signer.request WHERE request_id = $1"
    await eventually(lambda: client.value(dispatched, request.id), "the signer knows of the code, and sets the expiry")
    await client.database.execute(
        "UPDATE hsm_signer.request SET expires_at = now() - interval '1 second' WHERE request_id = $1", request.id
    )
    await client.database.execute("UPDATE hsm_signer.due SET at = now() WHERE request_id = $1", request.id)
    completed = await request.end()
    assert {(one.stage, one.reason, one.safe_to_retry) for one in completed.rejected} == {
        ("hsm_signer", Reason.EXPIRED, True)
    }
    await is_too_late(request, code, Reason.EXPIRED)
    assert await nothing_was_signed(request)


async def test_while_the_hsm_is_away_everything_waits_and_nothing_is_counted(client: Client, officer: Officer) -> None:
    """I-6, I-11: the HSM could not be asked, which says nothing about a PIN."""
    pukal, single = await asyncio.gather(client.press(officer, papers(60)), client.press(officer, papers(1)))
    codes = await asyncio.gather(pukal.otp(), single.otp())
    tokens = client.stack.layout.hsm("users") / "tokens"
    away = tokens.rename(tokens.with_name("away"))
    try:
        bulk = await pukal.authorise(otp=codes[0])
        mistyped = await single.authorise(otp=codes[1], pin=WRONG_PIN)
        for request in (pukal, single):
            await eventually(partial(_pending, client, request.id), "the attempt has its slot")
        waiting = "hsm_signer.log"
        log = client.stack.layout.log("hsm_signer")
        await eventually(lambda: b'"dependency": "hsm"' in log.read_bytes()[-20_000:], f"{waiting} says who is away")
        assert await wrong_pins(client, officer) == 0
        assert not pukal.seen.failures
        assert not single.seen.failures
    finally:
        away.rename(tokens)
    assert len((await pukal.end()).posted) == 60
    assert (await single.failure(mistyped)).reason is Reason.PIN_INCORRECT
    assert await wrong_pins(client, officer) in {0, 1}  # whichever of the two came last
    assert await attempts(client, pukal) == {"right": 1}
    assert await attempts(client, single) == {"wrong-pin": 1}
    assert bulk != mistyped
    await single.authorise(otp=codes[1])
    assert len((await single.end()).posted) == 1


async def _pending(client: Client, request_id: UUID) -> bool:
    return bool(
        await client.value(
            "SELECT count(*) FROM hsm_signer.attempt WHERE request_id = $1 AND state = 'pending'", request_id
        )
    )
