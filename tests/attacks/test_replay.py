"""What was said is said again: calls and events ten times over, older states, a whole request backwards.

Each repeat is worth nothing; each does what it is for once the memory that knows it is wiped.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import pytest

from libs.bus.delivery import delivery_id
from libs.contracts import topics
from libs.contracts.cloudevents import Record
from libs.contracts.reasons import Reason
from libs.gpki_client import Document, GpkiClient, Manifest
from libs.gpki_client.device import Device, DeviceClient
from services.igfmas.enrolment import Officer
from services.igfmas.keys import CALLER, SYSTEM
from tests.support.chain import Client, papers, wrong
from tests.support.faults import all_read
from tests.support.journal import Raw, ends_of, header, history, of_request
from tests.support.mobile import phone_is_known
from tests.support.producers import append
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

TIMES = 10

PROMISED = (
    topics.REQUESTED,
    topics.AUTHORISATION_SUBMITTED,
    topics.CANCEL_REQUESTED,
    topics.RESEND_REQUESTED,
    topics.NOT_ME,
)
"""What the gateway makes of calls."""


@pytest.fixture
async def officer(client: Client) -> Officer:
    return await client.enrol(algorithm="p-256")


@contextmanager
def overheard(*clients: GpkiClient | DeviceClient) -> Iterator[list[httpx.Request]]:
    """Every call of these clients as it goes over the wire, token and body."""
    heard: list[httpx.Request] = []

    async def listen(request: httpx.Request) -> None:
        heard.append(request)

    sessions = [one._transport.http for one in clients]
    for http in sessions:
        http.event_hooks = {"request": [listen]}
    try:
        yield heard
    finally:
        for http in sessions:
            http.event_hooks = {}


async def again(stack: Stack, heard: Sequence[httpx.Request]) -> list[httpx.Response]:
    """Make these calls once more, byte for byte, by who even has the caller's certificate and its key."""
    async with httpx.AsyncClient(verify=stack.caller_tls(), trust_env=False) as http:
        return [
            await http.send(httpx.Request(one.method, one.url, headers=one.headers, content=one.content))
            for one in heard
        ]


def as_written(record: Raw) -> Record:
    return Record(record.topic, record.key, record.value, tuple(record.headers))


async def test_every_call_ten_times_over_is_nobodys_and_changes_nothing(client: Client, officer: Officer) -> None:
    """Of the officer's screen and of the phone. A call's token is used up by it."""
    device = Device.new()
    await client.desk.register(officer, device)
    await phone_is_known(client, officer.user, device.device_id)
    (sheet,) = papers(1)
    named = {"request": sheet.entry.id, "caller": CALLER, "system": SYSTEM, "user": officer.user}
    manifest = Manifest.of([Document(**sheet.entry.texts)], **named, office=officer.office, action="sah")
    async with client.stack.mobile(device, officer.user) as phone:
        with overheard(client.gateway, phone) as heard:
            await client.gateway.medium(officer.user)
            begun = await client.gateway.start(manifest)
            request = await client.press(officer, papers(1))
            dispatched = await request.dispatched()
            code = (await phone.message(dispatched.reference_code, seconds=60)).otp
            client.otps.add(code)
            await request.failure(await request.authorise(otp=wrong(code)))
            await client.gateway.resend(request.id, officer.user)
            await client.gateway.cancel(begun.request_id, officer.user, idempotency_key=sheet.entry.id)
            await request.authorise(otp=code)
            await request.end()
            await client.gateway.status(request.id, officer.user)
            (message, *_) = await phone.messages()
            await phone.not_me(message)
    operations = {(one.method, one.url.path.rpartition("/")[2]) for one in heard}
    assert {
        ("POST", "signings"),
        ("POST", "authorisations"),
        ("POST", "cancellation"),
        ("POST", "not-me"),
    } <= operations
    await all_read(client.stack)
    before = await ends_of(client.stack, *PROMISED)
    answers = [answer for _ in range(TIMES) for answer in await again(client.stack, heard)]
    assert {answer.status_code for answer in answers} == {401}
    assert len(answers) == TIMES * len(heard) >= TIMES * 10
    assert await ends_of(client.stack, *PROMISED) == before


async def test_without_the_memory_of_tokens_and_keys_a_call_is_made_again(client: Client, officer: Officer) -> None:
    """I-11: one memory behind the other; the last one is the signer's, who knows the attempt."""
    request = await client.press(officer, papers(1))
    code = await request.otp()
    with overheard(client.gateway) as heard:
        await client.gateway.status(request.id, officer.user)
        failed = await request.failure(await request.authorise(otp=wrong(code)))
    assert failed.reason is Reason.OTP_INCORRECT
    (shown,) = [one for one in heard if one.method == "GET" and one.url.path.endswith(str(request.id))][:1]
    (tried,) = [one for one in heard if one.method == "POST"]
    before = await ends_of(client.stack, topics.AUTHORISATION_SUBMITTED)

    assert [answer.status_code for answer in await again(client.stack, [shown, tried])] == [401, 401]
    await client.database.execute("DELETE FROM gateway.used_jwt")
    assert [answer.status_code for answer in await again(client.stack, [shown, tried])] == [200, 202]
    assert await ends_of(client.stack, topics.AUTHORISATION_SUBMITTED) == before, "the key of the call is known"

    await client.database.execute("DELETE FROM gateway.used_jwt")
    key = tried.headers["Idempotency-Key"]
    await client.database.execute("DELETE FROM gateway.submission WHERE idempotency_key = $1", key)
    assert [answer.status_code for answer in await again(client.stack, [tried])] == [202]
    after = await ends_of(client.stack, topics.AUTHORISATION_SUBMITTED)
    assert sum(after.values()) == sum(before.values()) + 1, "it is handed on a second time"
    await all_read(client.stack)
    wrong_ones = "SELECT wrong_otps FROM hsm_signer.request WHERE request_id = $1"
    assert await client.value(wrong_ones, request.id) == 1, "and is the same attempt"
    await request.authorise(otp=code)
    assert len((await request.end()).posted) == 1


async def test_an_event_of_a_broker_writer_s_copies_is_acted_on_once(client: Client, officer: Officer) -> None:
    """I-3: ten copies of what makes a code. Without the row that knows it, the officer gets another."""
    request = await client.press(officer, papers(1))
    await request.otp()
    (record,) = await of_request(client.stack, topics.MEDIUM_RESOLVED, request.id)
    await append(client.stack, *[as_written(record)] * TIMES)
    await all_read(client.stack)
    assert len(client.stack.mailbox(officer.email)) == 1

    known = delivery_id(topics.MEDIUM_RESOLVED, header(record, "ce_id"))
    deleted = "WITH gone AS (DELETE FROM otp_dispatch.inbox WHERE id = $1 RETURNING 1) SELECT count(*) FROM gone"
    assert await client.value(deleted, known) == 1
    await client.database.execute("DELETE FROM otp_dispatch.code WHERE request_id = $1", request.id)
    await append(client.stack, as_written(record))
    await eventually(lambda: len(client.stack.mailbox(officer.email)) == 2, "undefended, a second mail")


async def test_an_older_state_brings_back_no_phone_that_was_replaced(client: Client, officer: Officer) -> None:
    """I-38: enrolment signed it once, so its signature holds for ever; its number does not."""
    old, new = Device.new(), Device.new()
    await client.desk.register(officer, old)
    await phone_is_known(client, officer.user, old.device_id)
    records = [one for one in await history(client.stack, topics.USER) if one.key == officer.user.encode()]
    older, known = as_written(records[-1]), delivery_id(topics.USER, header(records[-1], "ce_id"))
    await client.desk.register(officer, new)
    await phone_is_known(client, officer.user, new.device_id)
    await append(client.stack, *[older] * TIMES)
    await client.database.execute("DELETE FROM otp_dispatch.inbox WHERE id = $1", known)  # as after its 14 days
    await append(client.stack, older)
    await all_read(client.stack)
    await phone_is_known(client, officer.user, new.device_id)

    await client.database.execute("DELETE FROM otp_dispatch.inbox WHERE id = $1", known)
    await client.database.execute("UPDATE otp_dispatch.user_state SET version = 0 WHERE user_id = $1", officer.user)
    await append(client.stack, older)
    await phone_is_known(client, officer.user, old.device_id, services=["otp_dispatch"])


async def test_the_events_of_a_request_backwards_change_nothing(client: Client, officer: Officer) -> None:
    """I-3, I-21: every event of a request that was posted, from the last to the first."""
    request = await client.press(officer, papers(3))
    await request.authorise(otp=await request.otp())
    assert len((await request.end()).posted) == 3
    await all_read(client.stack)
    ours = {str(request.id), *(paper.entry.id for paper in request.papers)}
    records = [one for one in await history(client.stack, *topics.TOPICS) if (one.key or b"").decode() in ours]
    assert {topics.REQUESTED.name, topics.SIGNED.name, topics.POSTED.name} <= {one.topic for one in records}
    known = {(one.topic, header(one, "ce_id")) for one in records}
    ends = await ends_of(client.stack, *topics.TOPICS)

    backwards = sorted(records, key=lambda one: one.timestamp, reverse=True)
    await append(client.stack, *map(as_written, backwards))
    await all_read(client.stack)
    since = await history(client.stack, *topics.TOPICS, since=ends)
    told = {(one.topic, header(one, "ce_id")) for one in since if (one.key or b"").decode() in ours}
    assert told == known, "the copies, and nothing that follows from them"
    assert await client.value("SELECT count(*) FROM posting.record WHERE request_id = $1", request.id) == 3
    assert len(client.stack.mailbox(officer.email)) == 1
