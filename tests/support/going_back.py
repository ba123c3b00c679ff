"""What is taken away from somebody, and what he tries once the database, or the custody, is as it was before."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

from libs.contracts import topics
from libs.contracts.cloudevents import Record, encode
from libs.runtime.clock import utc_now
from services.hsm_signer import limits
from tests.support.backups import Archive

PIN, NEW, WRONG = "Kn4ri-betul-kuda", "Kn4ri-bateri-kopi", "Kn4ri-salah-kuda"

Attempt = Callable[[], Awaitable[str]]
"""`signed` if he has his way."""


async def revocation(archive: Archive, officer: UUID) -> Attempt:
    await archive.cabinet.certify(officer, status="revoked")

    async def attempt() -> str:
        return (await archive.authorise(officer, pin=PIN))[0]

    return attempt


async def change_of_pin(archive: Archive, officer: UUID) -> Attempt:
    assert (await archive.cabinet.change_pin(officer, old=PIN, new=NEW)).result == "changed"

    async def attempt() -> str:
        return (await archive.authorise(officer, pin=PIN))[0]

    return attempt


async def third_wrong_pin(archive: Archive, officer: UUID) -> Attempt:
    for _ in range(limits.WRONG_PINS_IN_A_ROW):
        await archive.authorise(officer, pin=WRONG)

    async def attempt() -> str:
        return (await archive.authorise(officer, pin=PIN))[0]

    return attempt


async def consumed_challenge(archive: Archive, officer: UUID) -> Attempt:
    answer, submission = await archive.authorise(officer, pin=PIN)
    assert answer == "signed"

    async def attempt() -> str:
        """The same sealed PIN and code once more, under another event id."""
        cabinet, topic = archive.cabinet, archive.cabinet.submitted
        signed = len(cabinet.tap.of(topics.SIGNED))
        record = encode(topic, submission, source="attacker", time=utc_now())
        headers = [(name, str(uuid4()).encode() if name == "ce_id" else value) for name, value in record.headers]
        await cabinet.room.send(topic, [Record(record.topic, record.key, record.value, tuple(headers))])
        await cabinet.handled(topic)
        return "signed" if len(cabinet.tap.of(topics.SIGNED)) > signed else "refused"

    return attempt


EVENTS = {
    "a revocation": revocation,
    "a change of the PIN": change_of_pin,
    "the third wrong PIN": third_wrong_pin,
    "a challenge that was used": consumed_challenge,
}
