"""Attacks of who can write the broker: events that no producer signed, or another one, or that were altered after.

Each attack is made twice: forged, and with the producer's own key, which is what the signature stands for: then it
succeeds.
"""

from dataclasses import replace
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from libs.bus.producers import KEY_PUBLISHER, Producers
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import Record
from libs.contracts.enrolment import CertificateRequested
from libs.contracts.event_signature import HEADER
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected
from libs.contracts.state import Certificate, User
from libs.contracts.topics import Topic
from libs.crypto.pki import distinguished_name
from libs.crypto.requests import certification_request
from libs.runtime.clock import utc_now
from libs.runtime.kafka_access import KafkaAccess
from services.igfmas.enrolment import Officer
from tests.support.chain import Client, Request, client, papers
from tests.support.journal import dead_letters, history
from tests.support.pki import Pki, p256_key
from tests.support.producers import EVERYBODY, Hands, append, as_service, send_as_service
from tests.support.stack import Stack
from tests.support.waiting import eventually

WRITTEN_OVER = "keys-written-over"

NOBODY = KafkaAccess("nowhere:1", "nobody", SecretStr("x"))

__all__ = ["client"]

pytestmark = pytest.mark.stack


@pytest.fixture
async def officer(client: Client) -> Officer:
    return await client.enrol(algorithm="p-256")


def forgeries(stack: Stack, topic: Topic, event: Event) -> list[Record]:
    """What can be made of an event without its producer's key, but with the key of any service that is not one."""
    genuine = as_service(stack, topic, event)
    stranger = next(name for name in EVERYBODY if name not in topic.producers and name != "operations")
    unsigned = replace(genuine, headers=tuple(each for each in genuine.headers if each[0] != HEADER))
    other = Hands(Pki(now=utc_now()))
    return [
        unsigned,
        as_service(stack, topic, event, by=stranger),
        as_service(stack, topic, event, by=stranger, source=topic.producers[0]),
        other.event(topic, event),
        replace(genuine, value=genuine.value + b" "),
        replace(genuine, headers=tuple((n, v + b"0" if n == "ce_id" else v) for n, v in genuine.headers)),
        replace(as_service(stack, topics.WAITING, event, by="hsm_signer", source="hsm_signer"), topic=topic.name),
    ]


async def forged(client: Client, topic: Topic, event: Event, *, readers: int) -> None:
    """Put all forgeries on the topic, and wait until each of its consumers has put them aside."""
    made = forgeries(client.stack, topic, event)
    await append(client.stack, *made)
    letters = await dead_letters(client.stack, topic, event.key, count=readers * len(made))
    reasons = [dict(letter.headers)["x-dead-letter-reason"] for letter in letters]
    assert all(bytes(reason).startswith(b"producer signature: ") for reason in reasons)


async def newest(client: Client, topic: Topic, key: object) -> bytes:
    """The state that a compacted topic has."""
    records = [record for record in await history(client.stack, topic) if record.key == str(key).encode()]
    return records[-1].value or b""


def whole(request: Request) -> Rejected:
    return Rejected(
        request_id=request.id,
        header=request.manifest.header,
        documents=None,
        stage="hsm_signer",
        reason=Reason.EXPIRED,
        safe_to_retry=True,
    )


async def test_a_forged_user_s_state_moves_no_code_to_another_mailbox(client: Client, officer: Officer) -> None:
    """I-38. Five services keep users."""
    user = User.model_validate_json(await newest(client, topics.USER, officer.user))
    thief = f"thief.{uuid4().hex[:8]}@evil.example"
    stolen = user.model_copy(update={"version": user.version + 1, "email": thief})
    await forged(client, topics.USER, stolen, readers=5)
    request = await client.press(officer, papers(1))
    assert len((await request.sign()).posted) == 1
    assert client.stack.mailbox(thief) == []

    await send_as_service(client.stack, topics.USER, stolen)
    moved = "SELECT value FROM otp_dispatch.user_state WHERE user_id = $1"
    await eventually(lambda: _says(client, moved, officer.user, thief), "otp_dispatch believes it")
    aged = "UPDATE otp_dispatch.place SET works_from = now() - interval '1 minute' WHERE user_id = $1 AND value = $2"
    await client.database.execute(aged, officer.user, thief)  # a day later
    await client.press(officer, papers(1))
    await eventually(lambda: bool(client.stack.mailbox(thief)), "the code is in the thief's mailbox")


async def test_a_forged_rejection_ends_nothing(client: Client, officer: Officer) -> None:
    """I-38. posting and the gateway read it."""
    request = await client.press(officer, papers(2))
    code = await request.otp()
    await forged(client, topics.REJECTED, whole(request), readers=2)
    await request.authorise(otp=code)
    assert len((await request.end()).posted) == 2

    other = await client.press(officer, papers(1))
    await other.otp()
    await send_as_service(client.stack, topics.REJECTED, whole(other))
    assert {one.reason for one in (await other.end()).rejected} == {Reason.EXPIRED}


async def test_a_forged_revocation_revokes_nothing(client: Client, officer: Officer) -> None:
    """I-38. Six services read certificates; a genuine revocation destroys the officer's key for good."""
    state = Certificate.model_validate_json(await newest(client, topics.CERTIFICATE, officer.credential_id))
    revoked = state.model_copy(update={"version": 2, "status": "revoked"})
    await forged(client, topics.CERTIFICATE, revoked, readers=6)
    wrapped = "SELECT wrapped IS NOT NULL FROM hsm_signer.credential WHERE credential_id = $1"
    assert await client.value(wrapped, officer.credential_id)
    assert len((await (await client.press(officer, papers(1))).sign()).posted) == 1

    await send_as_service(client.stack, topics.CERTIFICATE, revoked)
    await eventually(lambda: _is_destroyed(client, officer), "the key is destroyed")


async def test_rubbish_over_a_producer_s_key_is_put_aside_and_the_authority_says_the_key_again(
    client: Client, officer: Officer
) -> None:
    """I-38: with an account that may write `gpki.keys.v1`. Five services keep keys; all know producers by it."""
    known = client.chain.keys.values()  # what is rubbish on the topic, of an earlier run on this stack, is not in it
    (own,) = [one for one in known if (one.purpose, one.owner, one.retired_at) == ("producer", "otp_dispatch", None)]
    genuine = [one for one in await history(client.stack, topics.KEYS) if one.key == own.key.encode()][-1]
    over = Record(genuine.topic, genuine.key, b"rubbish", tuple(genuine.headers))
    await append(client.stack, over)
    letters = await dead_letters(client.stack, topics.KEYS, own.key, count=5)
    assert {dict(letter.headers)["x-dead-letter-reason"] for letter in letters} == {
        b"producer signature: it does not hold"
    }
    assert len((await (await client.press(officer, papers(1))).sign()).posted) == 1

    async def said_again() -> bool:
        last = [one for one in await history(client.stack, topics.KEYS) if one.key == genuine.key][-1]
        return (last.value, last.headers) == (genuine.value, genuine.headers)

    await eventually(said_again, "the authority's own word is the last again", seconds=90, every=1)
    alarms = [line for line in client.stack.layout.log(KEY_PUBLISHER).read_text().splitlines() if WRITTEN_OVER in line]
    assert any(own.key in line for line in alarms)


async def test_no_forged_request_has_the_forger_s_key_certified_for_an_officer(client: Client) -> None:
    """I-38: `certificate-requested` with two registrars' genuine application, and another's key."""
    officer, key = client.new_officer(algorithm="p-256"), p256_key()
    genuine = officer.application_submitted(client.registrars, await client.sealing_key()).signed
    csr = x509.load_pem_x509_csr(certification_request(key, distinguished_name("whoever")))
    event = CertificateRequested(
        signed=genuine, credential_id=officer.credential_id, csr=csr.public_bytes(Encoding.DER)
    )
    issued = "SELECT count(*) FROM certificate_authority.certificate WHERE holder = $1"
    await forged(client, topics.CERTIFICATE_REQUESTED, event, readers=1)
    assert await client.value(issued, str(officer.credential_id)) == 0

    await send_as_service(client.stack, topics.CERTIFICATE_REQUESTED, event)
    await eventually(lambda: client.value(issued, str(officer.credential_id)), "the forger has a certificate")


async def _says(client: Client, query: str, key: str, text: str) -> bool:
    return text.encode() in (await client.value(query, key) or b"")


async def _is_destroyed(client: Client, officer: Officer) -> bool:
    query = "SELECT wrapped IS NULL FROM hsm_signer.credential WHERE credential_id = $1"
    return bool(await client.value(query, officer.credential_id))


@pytest.mark.parametrize("service", EVERYBODY)
def test_each_service_s_own_credentials_write_its_own_topics_and_no_other(service: str) -> None:
    """I-38: what a compromised service can sign; the column of the wiring is the whole of it."""
    pki = Pki(now=utc_now())
    hands = Hands(pki)
    producers = Producers(NOBODY, pki.service_root.certificate.public_bytes(Encoding.DER))
    producers.learn(hands.keys())
    believed = set()
    for topic in topics.TOPICS.values():
        record = Record(topic.name, b"k", b"{}", (("ce_source", f"/gpki/{service}".encode()),))
        if producers.judge(topic, hands.sign(record, service), utc_now()) is None:
            believed.add(topic.name)
    assert believed == {topic.name for topic in topics.TOPICS.values() if service in topic.producers}
    assert believed
