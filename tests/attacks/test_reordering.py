"""Events in another order than they were made, while their request is alive, as a writer of the broker can have it.

A service is away while they are made, its groups are moved past them, and it is told of them in the attack's order.
Whatever that is, the outcome is the same, once; what comes after the end of its request changes nothing.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import permutations
from uuid import uuid4

import pytest

from libs.bus.delivery import delivery_id
from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Verified
from libs.contracts.state import Certificate
from libs.contracts.topics import Topic
from libs.gpki_client.token import OfficerToken
from services.igfmas.enrolment import Officer
from services.operations.cluster import look
from services.operations.gaps import groups_of
from tests.attacks.test_replay import as_written
from tests.support.chain import MAIL_SECONDS, Client, Officers, Request, client, officers, papers
from tests.support.faults import all_read, reset
from tests.support.journal import Raw, header, history, of_request
from tests.support.producers import append, send_as_service
from tests.support.retention import stop
from tests.support.stack import Stack
from tests.support.token_officers import TokenOfficer
from tests.support.waiting import eventually

__all__ = ["client", "officers"]

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

KEEP_CERTIFICATES = ("medium_lookup", "gateway", "hsm_signer", "crl_verifier", "posting")


@pytest.fixture
async def officer(client: Client) -> Officer:
    return await client.enrol(algorithm="p-256")


@asynccontextmanager
async def held_back(stack: Stack, service: str, *held: Topic) -> AsyncIterator[None]:
    """What comes on these topics meanwhile, this service reads never by itself; it is back afterwards."""
    await all_read(stack)
    await stop(stack, service)
    try:
        yield
        cluster = await look(stack.kafka, [topic.name for topic in held])
        for group in groups_of(service, cluster):
            await reset(
                stack, group.name, {place: cluster.ends[place] for place in group.committed.keys() & cluster.ends}
            )
    finally:
        await stack.restart(service)
    await all_read(stack)


async def deliver(stack: Stack, records: Iterable[Raw]) -> None:
    """Tell of these, byte for byte as they were written; returns when everybody has read them."""
    await append(stack, *map(as_written, records))
    await all_read(stack)


async def records_of(stack: Stack, requests: Iterable[Request], *read: Topic) -> list[Raw]:
    """All of these requests, by their own key or by those of their documents, in the order of their making."""
    keys = {name.encode() for one in requests for name in (str(one.id), *(sheet.entry.id for sheet in one.papers))}
    return sorted((one for one in await history(stack, *read) if one.key in keys), key=lambda one: one.timestamp)


async def signatures(client: Client, request: Request) -> int:
    """How many records of `signed` there are of its documents, repeats included."""
    return len(await records_of(client.stack, [request], topics.SIGNED))


async def happened_once(client: Client, *requests: Request) -> None:
    """One code, one signature and one record a document, one end: nothing lost, nothing twice."""
    await all_read(client.stack)
    records = "SELECT count(*) FROM posting.record WHERE request_id = $1"
    for request in requests:
        many = len(request.papers)
        assert await signatures(client, request) == many
        assert await client.value(records, request.id) == many
        ends = await of_request(client.stack, topics.COMPLETED, request.id)
        assert len({header(one, "ce_id") for one in ends}) == len({one.value for one in ends}) == 1


async def test_code_request_and_authorisation_come_to_the_signer_in_any_order_and_are_one_signature(
    client: Client, officer: Officer
) -> None:
    """I-3, I-13, I-21: all six orders, a request each."""
    read = (topics.MEDIUM_RESOLVED, topics.OTP_DISPATCHED, topics.AUTHORISATION_SUBMITTED)
    orders = list(permutations(read))
    async with held_back(client.stack, "hsm_signer", *read):
        requests = [await client.press(officer, papers(2)) for _ in orders]
        for request in requests:
            await request.authorise(otp=await request.otp())
    assert [await signatures(client, request) for request in requests] == [0] * len(orders), "they are held back"
    made = {(one.key, one.topic): one for one in await records_of(client.stack, requests, *read)}
    for place in range(len(read)):
        told = [(str(request.id).encode(), order[place].name) for request, order in zip(requests, orders, strict=True)]
        await deliver(client.stack, [made[one] for one in told])
    for request in requests:
        assert len((await request.end()).posted) == 2
    await happened_once(client, *requests)
    assert len(client.stack.mailbox(officer.email)) == len(orders)


async def test_an_authorisation_held_back_until_its_request_was_taken_back_signs_nothing(
    client: Client, officer: Officer
) -> None:
    """I-21, I-23: PIN and code are right, and in time. Without the row of the end, it signs what was taken back."""
    request = await client.press(officer, papers(1))
    code = await request.otp()
    held, another = [await request.submission(otp=code) for _ in range(2)]
    await client.gateway.cancel(request.id, officer.user, idempotency_key=uuid4().hex)
    assert {one.reason for one in (await request.end()).rejected} == {Reason.CANCELLED}
    await send_as_service(client.stack, topics.AUTHORISATION_SUBMITTED, held)
    assert (await request.failure(held.attempt)).reason is Reason.CANCELLED
    await all_read(client.stack)
    assert await signatures(client, request) == 0

    forget = "UPDATE hsm_signer.request SET ended_at = NULL, end_reason = NULL WHERE request_id = $1"
    await client.database.execute(forget, request.id)
    await send_as_service(client.stack, topics.AUTHORISATION_SUBMITTED, another)
    await eventually(lambda: signatures(client, request), "undefended, it is signed", every=0.5)
    await all_read(client.stack)
    posted = "SELECT count(*) FROM posting.record WHERE request_id = $1"
    assert await client.value(posted, request.id) == 0, "posting has heard of the end itself"
    assert len(await of_request(client.stack, topics.COMPLETED, request.id)) == 1


async def test_an_approval_that_overtakes_its_certification_and_a_refusal_that_overtakes_signatures(
    client: Client, officers: Officers, token: OfficerToken, token_officer: TokenOfficer
) -> None:
    """I-20, I-21: to posting comes first what was decided last; what is on the table of records is the same."""
    stack, sheets, user = client.stack, papers(2), token_officer.officer.user
    async with held_back(stack, "posting", topics.VERIFIED, topics.REJECTED):
        sah = await client.press(officers.maker, sheets)
        peraku = await client.press(officers.checker, sheets, "peraku")
        for request in (sah, peraku):
            await request.authorise(otp=await request.otp())
        tokens = await token_officer.asked(client, 3)
        signed = await token_officer.signatures(token, tokens.manifest)
        kept = {name: signed[name] for name in list(signed)[:2]}
        await client.gateway.token_signatures(tokens.id, user, kept)
        await eventually(lambda: _verified(client, tokens, 2), "two are verified", every=0.3)
        await client.gateway.cancel(tokens.id, user, idempotency_key=uuid4().hex)
        await eventually(lambda: of_request(stack, topics.REJECTED, tokens.id), "the third is rejected", every=0.3)
        await eventually(lambda: _verified(client, sah, 4), "of both requests all are verified", every=0.3)
    rejected = await of_request(stack, topics.REJECTED, tokens.id)
    verified = await records_of(stack, [sah, peraku, tokens], topics.VERIFIED)
    approvals = [one for one in verified if Verified.model_validate_json(one.value or b"").header.action == "peraku"]
    await deliver(stack, [*rejected, *approvals])
    assert await client.value("SELECT count(*) FROM posting.record WHERE request_id = $1", peraku.id) == 0
    await deliver(stack, reversed([one for one in verified if one not in approvals]))
    for request in (sah, peraku):
        assert len((await request.end()).posted) == 2
    ended = await tokens.end()
    assert {one.document_id for one in ended.posted} == kept.keys()
    assert [one.reason for one in ended.rejected] == [Reason.CANCELLED]
    posted = "SELECT count(*) FROM posting.record WHERE request_id = ANY ($1)"
    assert await client.value(posted, [sah.id, peraku.id, tokens.id]) == 6
    for request in (sah, peraku, tokens):
        assert len(await of_request(stack, topics.COMPLETED, request.id)) == 1


async def _verified(client: Client, request: Request, many: int) -> bool:
    return len(await records_of(client.stack, [request], topics.VERIFIED)) == many


async def test_an_end_that_comes_to_the_gateway_before_all_else_is_what_it_tells(
    client: Client, officer: Officer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-22: from the last event of a request to its first."""
    stack, key = client.stack, await client.sealing_key()
    read = (topics.REQUESTED, topics.MEDIUM_RESOLVED, topics.OTP_DISPATCHED, topics.PROGRESSED, topics.COMPLETED)

    async def known() -> object:
        return key

    monkeypatch.setattr(client, "sealing_key", known)
    async with held_back(stack, "gateway", *read):
        request = await client.press(officer, papers(3))
        code = await client.mailbox.otp(
            officer.email, (await request.dispatched()).reference_code, seconds=MAIL_SECONDS
        )
        client.otps.add(code)
        await request.submit(otp=code)
        assert len((await request.end()).posted) == 3
    made = await records_of(stack, [request], *read)
    assert {one.topic for one in made} == {topic.name for topic in read}
    for topic in reversed(read):
        await deliver(stack, [one for one in reversed(made) if one.topic == topic.name])
        status = await client.gateway.status(request.id, officer.user)
        assert (status.state, status.counts.posted) == ("completed", 3)
    rows = "SELECT array_agg(seq ORDER BY seq) FROM gateway.timeline WHERE request_id = $1"
    seen = await client.value(rows, request.id)
    assert seen == list(range(1, len(seen) + 1))
    await happened_once(client, request)


async def test_an_older_state_of_a_certificate_lifts_no_suspension(client: Client, officer: Officer) -> None:
    """I-53: the authority signed it once. Where its number is forgotten, the officer signs with what is suspended."""
    stack = client.stack
    await client.desk.suspend(officer)
    await all_read(stack)
    states = [one for one in await history(stack, topics.CERTIFICATE) if one.key == str(officer.credential_id).encode()]
    good, suspended = states[0], states[-1]
    assert [Certificate.model_validate_json(one.value or b"").status for one in (good, suspended)] == [
        "good",
        "suspended",
    ]

    await said_again(client, good)
    assert await statuses(client, officer) == dict.fromkeys(KEEP_CERTIFICATES, "suspended")

    await said_again(client, good, forgotten=officer)
    assert await statuses(client, officer) == dict.fromkeys(KEEP_CERTIFICATES, "good")
    request = await client.press(officer, papers(1))
    await request.authorise(otp=await request.otp())
    await eventually(lambda: signatures(client, request), "undefended, it is signed", every=0.5)

    await said_again(client, suspended)
    await client.desk.lift(officer)
    assert len((await request.end()).posted) == 1, "the list of revocations had it wait for two registrars"


async def said_again(client: Client, record: Raw, *, forgotten: Officer | None = None) -> None:
    """A state once more, as after the 14 days of the inbox; of this officer the number is forgotten too."""
    known = delivery_id(topics.CERTIFICATE, header(record, "ce_id"))
    # A signer that looked between here and the delivery would take its database for an older one, and end (I-51).
    async with client.database.acquire() as unseen, unseen.transaction():
        await unseen.execute("LOCK TABLE hsm_signer.history IN ACCESS EXCLUSIVE MODE")
        for service in KEEP_CERTIFICATES:
            await client.database.execute(f"DELETE FROM {service}.inbox WHERE id = $1", known)
            if forgotten:
                forget = f"UPDATE {service}.certificate_state SET version = 0 WHERE credential_id = $1"
                await client.database.execute(forget, forgotten.credential_id)
        await deliver(client.stack, [record])
    await client.chain.drain()  # the reference client is in no group, and lifts what it has read last


async def statuses(client: Client, officer: Officer) -> dict[str, str]:
    """What each service has of the officer's certificate."""
    read = "SELECT value FROM {}.certificate_state WHERE credential_id = $1"
    found = {one: await client.value(read.format(one), officer.credential_id) for one in KEEP_CERTIFICATES}
    return {one: Certificate.model_validate_json(value).status for one, value in found.items()}
