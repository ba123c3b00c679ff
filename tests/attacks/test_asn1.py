"""ASN.1 that is hostile, against the running stack: signatures and requests for certificates, by whoever may send them.

Each is refused by its reason, no process ends of it, and the good one beside it is posted or certified. What gets
through where the checks are away is shown in test_verifying.py and test_rules.py, in the test's own process.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from cryptography import x509

from deploy.native import broker
from deploy.native.layout import SERVICES
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import encode
from libs.contracts.enrolment import credential_id_of
from libs.contracts.manifest import Manifest
from libs.contracts.problems import ProblemCode
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected, Signed, Verified
from libs.contracts.token_route import TokenSigned
from libs.contracts.topics import Topic
from libs.gpki_client import Problem
from libs.gpki_client.token import OfficerToken
from libs.runtime.clock import utc_now
from services.gateway.token_schemas import MAX_CMS
from services.igfmas.documents import manifest_of
from services.igfmas.enrolment import token_application_of
from tests.attacks.malformed import (
    hostile_requests,
    malformed,
    other_attributes,
    other_encodings,
    oversized,
    request_of,
    requests_that_say_too_much,
    with_attributes,
)
from tests.support.chain import Client, Officers, Request, client, officers, papers
from tests.support.documents import officer as an_officer
from tests.support.documents import signed
from tests.support.journal import dead_letters, ends_of, history, of_request
from tests.support.pki import Pki, p256_key
from tests.support.stack import Stack
from tests.support.token_officers import TokenOfficer
from tests.support.waiting import eventually

__all__ = ["client", "officers"]

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

MAX_REQUEST = 8192
"""Bytes of a PKCS #10 request in an application (libs/contracts/enrolment.py)."""

OF_CORPUS = {
    Reason.SIGNATURE_INVALID,
    Reason.ATTRIBUTES_MISSING,
    Reason.ATTRIBUTES_MISMATCH,
    Reason.CERTIFICATE_MISMATCH,
}
"""What was found by fuzzing is refused for one of these; whatever else is here, as no signature."""


@asynccontextmanager
async def nobody_falls(stack: Stack) -> AsyncIterator[None]:
    """Whatever comes meanwhile, every service is the same process afterwards."""
    before = {service: stack.pid(service) for service in SERVICES}
    assert all(before.values())
    yield
    assert {service: stack.pid(service) for service in SERVICES} == before


async def write(stack: Stack, account: str, topic: Topic, *events: Event) -> None:
    """Publish as who has the password of this account at Kafka, in this order."""
    producer = AIOKafkaProducer(**broker.access(stack.layout, account).options(), max_request_size=topic.max_bytes)
    await producer.start()
    try:
        for event in events:
            record = encode(topic, event, source=account, time=utc_now())
            await producer.send_and_wait(topic.name, value=record.value, key=record.key, headers=list(record.headers))
    finally:
        await producer.stop()


async def hostile(token: OfficerToken, genuine: bytes) -> dict[str, bytes]:
    """What the gateway hands on, by what is wrong with it: made of a good signature of this token; some are right."""
    resigned = {
        name: with_attributes(genuine, attributes, await token.sign(attributes))
        for name, attributes in other_attributes(genuine).items()
    }
    made = malformed(genuine, MAX_CMS) | other_encodings(genuine) | resigned
    return {name: one for name, one in made.items() if 0 < len(one) <= MAX_CMS}


def beyond(genuine: bytes) -> dict[str, bytes]:
    """What the gateway takes no body with: nothing, or more than a signature may be there, or anywhere."""
    long = {f"{name}, longer": one for name, one in malformed(genuine).items() if len(one) > MAX_CMS}
    return {**long, "nothing": b"", "above the bound": oversized(genuine), "of 128 KiB": oversized(genuine, 128 * 1024)}


def check(told: Mapping[str, Reason], documents: Mapping[str, str]) -> None:
    """Each document is refused, for the reason of what is wrong with it; `documents` says what that is."""
    assert told.keys() == documents.keys()
    wrong = {
        documents[name]: reason
        for name, reason in told.items()
        if reason not in (OF_CORPUS if documents[name].startswith("corpus") else {Reason.SIGNATURE_INVALID})
    }
    assert wrong == {}


async def beside(client: Client, officers: Officers) -> None:
    """An honest officer's request from beginning to end."""
    request = await client.press(officers.maker, papers(2))
    assert len((await request.sign()).posted) == 2


async def test_hostile_signatures_of_a_token_are_refused_one_by_one_and_the_good_one_is_posted(
    client: Client, officers: Officers, token_officer: TokenOfficer, token: OfficerToken
) -> None:
    """I-24, I-25: over HTTP what the gateway takes, and past it, with its own account at Kafka, what it does not."""
    stack, user = client.stack, token_officer.officer.user
    (any_other,) = signed(an_officer(Pki(now=utc_now())))
    small, big = list(await hostile(token, any_other.cms)), list(beyond(any_other.cms))
    request = await token_officer.asked(client, len(small) + len(big) + 1)
    genuine = await token_officer.signatures(token, request.manifest)
    *names, good = genuine
    wrong = dict(zip(names, [*small, *big], strict=True))
    # Each is made of the good signature of the very document for which it is handed in: only its bytes are wrong.
    taken = {name: (await hostile(token, genuine[name]))[wrong[name]] for name in names[: len(small)]}
    not_taken = {name: beyond(genuine[name])[wrong[name]] for name in names[len(small) :]}
    dead = await ends_of(stack, topics.TOKEN_SIGNED.dead_letter, topics.VERIFIED.dead_letter)

    async with nobody_falls(stack):
        honest = asyncio.create_task(beside(client, officers))
        for name, one in not_taken.items():
            with pytest.raises(Problem) as refused:
                await client.gateway.token_signatures(request.id, user, {name: one})
            assert (refused.value.status, refused.value.code) == (422, ProblemCode.BODY_INVALID), wrong[name]
        assert await client.gateway.token_signatures(request.id, user, taken) == len(taken)
        assert await client.gateway.token_signatures(request.id, user, {good: genuine[good]}) == 1
        past = [token_signed(request, name, one) for name, one in not_taken.items()]
        await write(stack, "gateway", topics.TOKEN_SIGNED, *past)
        completed = await request.end()
        await honest

    assert [one.document_id for one in completed.posted] == [good]
    check({name: one.reason for one in completed.rejected for name in one.documents or ()}, wrong)
    assert await ends_of(stack, topics.TOKEN_SIGNED.dead_letter, topics.VERIFIED.dead_letter) == dead


def token_signed(request: Request, document: str, cms: bytes) -> TokenSigned:
    at = next(index for index, paper in enumerate(request.papers) if paper.entry.id == document)
    return TokenSigned(
        request_id=request.id,
        header=request.manifest.header,
        index=at,
        entry=request.papers[at].entry,
        path=tuple(request.manifest.commitment().paths[at]),
        cms=cms,
    )


@pytest.mark.parametrize(
    ("account", "topic", "model", "judge"),
    [
        ("hsm_signer", topics.SIGNED, Signed, "crl_verifier"),
        ("crl_verifier", topics.VERIFIED, Verified, "posting"),
    ],
    ids=["signed", "verified"],
)
async def test_hostile_signatures_with_a_service_s_own_account_are_refused_one_by_one(
    client: Client, officers: Officers, account: str, topic: Topic, model: type[Signed], judge: str
) -> None:
    """I-20: who has the password of the service that writes the topic; the officer has asked nothing."""
    stack = client.stack
    done = await client.press(officers.maker, papers(1))
    assert len((await done.sign()).posted) == 1
    written = [one for one in await history(stack, topic) if one.key == done.papers[0].entry.id.encode()]
    genuine = model.model_validate_json(written[0].value or b"")
    wrong = malformed(genuine.cms) | {"above": oversized(genuine.cms), "of 128 KiB": oversized(genuine.cms, 128 * 1024)}
    asked = _manifest(officers, len(wrong))
    commitment, head = asked.commitment(), asked.header
    events = [
        genuine.model_copy(
            update={
                "request_id": head.request_id,
                "header": head,
                "index": index,
                "entry": entry,
                "path": tuple(commitment.paths[index]),
                "cms": cms,
            }
        )
        for index, entry, cms in zip(count(), asked.documents, wrong.values(), strict=False)
    ]

    async with nobody_falls(stack):
        honest = asyncio.create_task(beside(client, officers))
        await write(stack, account, topic, *events)

        async def refused() -> dict[str, Rejected] | None:
            records = await of_request(stack, topics.REJECTED, head.request_id)
            told = [Rejected.model_validate_json(one.value or b"") for one in records]
            found = {name: one for one in told for name in one.documents or ()}
            return found if len(found) == len(events) else None

        found = await eventually(refused, "each is refused", seconds=60, every=0.5)
        await honest

    assert {one.stage for one in found.values()} == {judge}
    documents = {entry.id: what for entry, what in zip(asked.documents, wrong, strict=True)}
    check({name: one.reason for name, one in found.items()}, documents)
    assert await client.value("SELECT count(*) FROM posting.record WHERE request_id = $1", head.request_id) == 0


def _manifest(officers: Officers, many: int) -> Manifest:
    """A request that nobody made."""
    entries = tuple(paper.entry for paper in papers(many))
    maker = officers.maker
    return manifest_of(entries, request=uuid4().hex, user=maker.user, office=maker.office, action="sah")


async def test_hostile_requests_of_tokens_are_refused_one_by_one_and_the_good_one_is_certified(client: Client) -> None:
    """KEY-7: two registrars have confirmed each, by its digest: they do not read it."""
    stack, key = client.stack, p256_key()
    wrong = hostile_requests(key, MAX_REQUEST)
    honest = client.new_officer()
    applicants = {what: client.new_officer() for what in wrong}
    asked = {what: token_application_of(who, wrong[what], client.registrars) for what, who in applicants.items()}
    good = token_application_of(honest, request_of(key), client.registrars)
    refused, certificates = client.chain.refused, client.chain.certificates

    async with nobody_falls(stack):
        await write(stack, "igfmas", topics.TOKEN_APPLICATION_SUBMITTED, *asked.values(), good)
        applications = {what: one.signed.application for what, one in asked.items()}
        await client.chain.wait(
            lambda: all(one.application in refused for one in applications.values()), "each is refused", seconds=60
        )
        wanted = credential_id_of(good.signed.application)
        await client.chain.wait(lambda: wanted in certificates, "the good one is certified", seconds=60)

    told = {what: refused[one.application] for what, one in applications.items()}
    assert {(one.stage, one.detail) for one in told.values()} == {
        ("certificate_authority", "no valid certification request: no proof that the key is possessed")
    }
    assert not any(credential_id_of(one) in certificates for one in applications.values())


async def test_a_request_beyond_its_bound_is_nobody_s_and_leaves_its_application_to_the_true_one(
    client: Client,
) -> None:
    """It is no event: put aside unread, as whatever an outsider writes that is none."""
    stack, key, officer = client.stack, p256_key(), client.new_officer()
    good = token_application_of(officer, request_of(key), client.registrars)
    for size in (MAX_REQUEST + 1, 64 * 1024):
        big = good.model_copy(update={"csr": bytes(size)})
        await write(stack, "igfmas", topics.TOKEN_APPLICATION_SUBMITTED, big)
    application = good.signed.application
    letters = await dead_letters(stack, topics.TOKEN_APPLICATION_SUBMITTED, application.application, count=2)
    assert len(letters) == 2
    await write(stack, "igfmas", topics.TOKEN_APPLICATION_SUBMITTED, good)
    wanted = credential_id_of(application)
    await client.chain.wait(lambda: wanted in client.chain.certificates, "it is certified", seconds=60)


async def test_of_a_request_that_says_too_much_the_authority_takes_the_key_and_nothing_else(client: Client) -> None:
    """Deep attributes, an attribute twice, another's name: its proof holds, and nobody reads the rest."""
    stack = client.stack
    keys = {what: p256_key() for what in requests_that_say_too_much(p256_key())}
    said = {what: requests_that_say_too_much(key)[what] for what, key in keys.items()}
    applicants = {what: replace(client.new_officer(), name=f"Pegawai {uuid4().hex[:8]}") for what in said}
    asked = {what: token_application_of(who, said[what], client.registrars) for what, who in applicants.items()}
    async with nobody_falls(stack):
        await write(stack, "igfmas", topics.TOKEN_APPLICATION_SUBMITTED, *asked.values())
        wanted = {what: credential_id_of(one.signed.application) for what, one in asked.items()}
        certificates = client.chain.certificates
        await client.chain.wait(lambda: set(wanted.values()) <= certificates.keys(), "all are certified", seconds=60)
    for what, credential in wanted.items():
        made = x509.load_der_x509_certificate(certificates[credential].certificate)
        who = applicants[what]
        assert made.public_key() == keys[what].public_key()
        assert _texts(made, x509.NameOID.COMMON_NAME) == [who.name]
        assert _texts(made, x509.NameOID.SERIAL_NUMBER) == [who.user]
        assert len(certificates[credential].certificate) < 1024, "and nothing of what stood beside the key"


def _texts(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str | bytes]:
    return [one.value for one in certificate.subject.get_attributes_for_oid(oid)]
