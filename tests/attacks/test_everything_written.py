"""KEY-7: the whole database and the whole broker in one hand, with every code and an officer's own PIN: no signature.

The superusers of both, who have the gateway's key too and are an officer Y. What Y lacks is X's PIN; with it the same
hand signs. That such a hand can guess it, by putting the count back, is in test_limits.py.
"""

from uuid import uuid4

import pytest

from libs.contracts.reasons import Reason
from services.igfmas.enrolment import Officer
from tests.support.chain import Client, Request, papers
from tests.support.copies import certified, registered
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

STATES = ("medium_lookup", "otp_dispatch", "hsm_signer")
"""Whose copies of an officer decide where a code goes, and which key signs."""

COPIES = {"user_state": ("user_id", STATES), "certificate_state": ("credential_id", ("medium_lookup", "hsm_signer"))}

SWAPPED = """
UPDATE hsm_signer.credential mine SET wrapped = theirs.wrapped, salt = theirs.salt, pepper = theirs.pepper,
    wrapping_key = theirs.wrapping_key, memory_kib = theirs.memory_kib, iterations = theirs.iterations,
    parallelism = theirs.parallelism, wrong_pins = 0, locked_at = NULL
FROM hsm_signer.credential theirs WHERE mine.credential_id = $1 AND theirs.credential_id = $2
"""

REWRITTEN = """
UPDATE {table} SET value = convert_to(replace(convert_from(value, 'UTF8'), $2, $3), 'UTF8') WHERE {column}::text = $1
"""

PRETENDED = """
WITH made AS (INSERT INTO hsm_signer.attempt (request_id, attempt, credential_id, state) VALUES ($1, $2, $3, 'right')),
reserved AS (INSERT INTO hsm_signer.document (request_id, index, document_id) VALUES ($1, 0, $4))
UPDATE hsm_signer.request SET attempt = $2, reserved_at = now(), channel = 'e-mail', reference_code = 'AAA'
WHERE request_id = $1
"""
"""A reservation as the signer writes it when code and PIN were right."""


async def rewritten(client: Client, table: str, of: object, was: object, now: object) -> None:
    """In every copy that the chain asks: of an officer by number, or of a certificate by its credential."""
    column, schemas = COPIES[table]
    for schema in schemas:
        change = REWRITTEN.format(table=f"{schema}.{table}", column=column)
        assert await client.database.execute(change, str(of), str(was), str(now)) == "UPDATE 1", schema


async def redirected(client: Client, officer: Officer) -> str:
    """The officer's codes go to a mailbox of the attacker's from now on."""
    address = f"penyerang.{uuid4().hex}@luar.example"
    await rewritten(client, "user_state", officer.user, officer.email, address)
    await client.database.execute(
        "UPDATE otp_dispatch.place SET value = $2 WHERE user_id = $1 AND channel = 'e-mail'", officer.user, address
    )
    return address


async def code_of(client: Client, request: Request, address: str) -> str:
    """As the attacker reads it."""
    reference = (await request.dispatched()).reference_code
    code = await client.mailbox.otp(address, reference, seconds=60)
    client.otps.add(code)
    return code


async def nothing_of(client: Client, *requests: Request) -> bool:
    await client.chain.drain()
    return not any(one.signatures for request in requests for one in request.seen.documents.values())


@pytest.mark.timeout(180)
async def test_who_writes_database_and_broker_and_reads_the_codes_signs_nothing_without_the_pin(client: Client) -> None:
    """I-12, I-14: X's request, as iGFMAS made it; the code; Y's key in the place of X's, and Y in the place of X."""
    x, y = [await client.enrol(algorithm="p-256") for _ in range(2)]
    await registered(client, x.user, x.credential_id, STATES)  # what is to be written over has come
    await certified(client, y.credential_id, "good", COPIES["certificate_state"][1])
    address = await redirected(client, x)
    kept = await client.database.fetchrow(
        "SELECT * FROM hsm_signer.credential WHERE credential_id = $1", x.credential_id
    )
    assert kept is not None

    key = await client.press(x, papers(1))
    code = await code_of(client, key, address)
    await client.database.execute(SWAPPED, x.credential_id, y.credential_id)
    failed = await key.failure(await key.submit(otp=code, pin=y.pin))
    assert failed.reason is Reason.PIN_INCORRECT, "Y's key, salt and PIN, in X's row"

    # A reservation of the attacker's own writing, for what Y's PIN was sealed in.
    pretended = await client.press(x, papers(1))
    code = await code_of(client, pretended, address)
    event = await pretended.submission(otp=code, pin=y.pin)
    known = "SELECT count(*) FROM hsm_signer.request WHERE request_id = $1"
    await eventually(lambda: client.value(known, pretended.id), "the signer has heard of it")
    await client.database.execute(PRETENDED, pretended.id, event.attempt, x.credential_id, pretended.papers[0].entry.id)
    await pretended.submit(sealed=event.sealed, challenges=event.challenges)
    assert {one.reason for one in (await pretended.end()).rejected} == {Reason.AUTHORISATION_EXPIRED}

    await rewritten(client, "user_state", x.user, x.credential_id, y.credential_id)
    await rewritten(client, "certificate_state", y.credential_id, y.user, x.user)
    person = await client.press(x, papers(1))
    code = await code_of(client, person, address)
    failed = await person.failure(await person.submit(otp=code, pin=y.pin))
    assert failed.reason is Reason.CHALLENGE_INVALID, "Y's credential, said to be X's: no code was made for Y"
    await client.database.execute(
        "UPDATE hsm_signer.credential SET user_id = $2 WHERE credential_id = $1", y.credential_id, x.user
    )
    failed = await person.failure(await person.submit(otp=code, pin=y.pin))
    assert failed.reason is Reason.PIN_INCORRECT, "and in the row of the key too: it is sealed to Y"
    assert await nothing_of(client, key, pretended, person)

    await rewritten(client, "user_state", x.user, y.credential_id, x.credential_id)
    await client.database.execute(
        "UPDATE hsm_signer.credential SET wrapped = $2, salt = $3, wrong_pins = 0 WHERE credential_id = $1",
        x.credential_id,
        kept["wrapped"],
        kept["salt"],
    )
    stolen = await client.press(x, papers(1))
    await stolen.submit(otp=await code_of(client, stolen, address), pin=x.pin)
    assert len((await stolen.end()).posted) == 1, "X's own PIN was all that was missing"
