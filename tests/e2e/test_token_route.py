"""The token route end to end: documents signed on the officer's own machine, by a token that is not of the platform."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from libs.contracts import topics
from libs.contracts.cloudevents import encode, event_id
from libs.contracts.ids import event_id_of
from libs.contracts.reasons import Reason
from libs.contracts.token_route import TokenSigned
from libs.gpki_client import Problem
from libs.runtime.clock import utc_now
from services.igfmas.documents import Paper
from tests.e2e.test_cancelling import answers, take_back
from tests.e2e.test_signing import openssl_agrees
from tests.support.chain import Client, Request
from tests.support.journal import history
from tests.support.officer_token import P256, RSA, TokenFolder
from tests.support.pki import rsa_key
from tests.support.producers import append
from tests.support.token_officers import TokenOfficer, opened
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


class Signers:
    """Two officers: the first with the token's RSA key, the other with its P-256 key."""

    def __init__(self, folder: TokenFolder, first: TokenOfficer, other: TokenOfficer) -> None:
        self.token = partial(opened, folder, RSA)
        self.other_token = partial(opened, folder, P256)
        self.first = first
        self.other = other


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def signers(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Signers]:
    """Enrolled once."""
    folder = TokenFolder.create(tmp_path_factory.mktemp("token") / "hsm")
    found = []
    for key in (RSA, P256):
        async with opened(folder, key) as token:
            found.append(await TokenOfficer.enrol(client, token))
    yield Signers(folder, *found)


async def asked(client: Client, signers: Signers, count: int) -> Request:
    """A request that waits for the first officer's token."""
    request = await signers.first.asked(client, count)
    status = await client.gateway.status(request.id, request.officer.user)
    assert (status.state, status.medium) == ("awaiting-token-signatures", "token")
    return request


async def hand_in(request: Request, signatures: dict[str, bytes]) -> int:
    return await request.client.gateway.token_signatures(request.id, request.officer.user, signatures)


async def test_twenty_documents_are_posted_and_verify_with_openssl(
    client: Client, signers: Signers, tmp_path: Path
) -> None:
    """I-24."""
    request = await asked(client, signers, 20)
    async with signers.token() as token:
        signatures = await signers.first.signatures(token, request.manifest)
    assert await hand_in(request, signatures) == 20
    completed = await request.end()
    assert [one.document_id for one in completed.posted] == [paper.entry.id for paper in request.papers]
    assert completed.rejected == ()
    assert not request.seen.dispatched, "a token needs no code"
    verified = [document.verified for document in request.seen.documents.values()]
    assert {one.authorisation.channel for one in verified if one} == {"token"}
    await openssl_agrees(client, request, tmp_path)


async def test_another_key_and_another_officers_certificate_are_rejected_and_the_right_one_is_posted(
    client: Client, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-24, I-26."""
    request = await asked(client, signers, 3)
    right, forged, foreign = (paper.entry.id for paper in request.papers)
    stranger = rsa_key()

    async def sign(data: bytes) -> bytes:
        return stranger.sign(data, PKCS1v15(), hashes.SHA256())

    async with signers.other_token() as token:
        others = await signers.other.signatures(token, request.manifest)
    async with signers.token() as token:
        own = await signers.first.signatures(token, request.manifest)
        monkeypatch.setattr(token, "sign", sign)
        strangers = await signers.first.signatures(token, request.manifest)
    await hand_in(request, {right: own[right], forged: strangers[forged], foreign: others[foreign]})
    completed = await request.end()
    assert [one.document_id for one in completed.posted] == [right]
    assert {(name, one.reason) for one in completed.rejected for name in one.documents or ()} == {
        (forged, Reason.SIGNATURE_INVALID),
        (foreign, Reason.CERTIFICATE_MISMATCH),
    }


async def test_a_request_that_is_cancelled_before_it_is_signed_takes_no_signature(
    client: Client, signers: Signers
) -> None:
    """I-25."""
    request = await asked(client, signers, 3)
    cancel = await take_back(request)
    completed = await request.end()
    assert completed.posted == ()
    assert {(one.stage, one.reason) for one in completed.rejected} == {("crl_verifier", Reason.CANCELLED)}
    assert {name for one in completed.rejected for name in one.documents or ()} == set(request.seen.documents)
    assert await answers(request) == [(cancel, "accepted")]
    await eventually(partial(is_completed, request), "the gateway knows the end")
    async with signers.token() as token:
        signatures = await signers.first.signatures(token, request.manifest)
    with pytest.raises(Problem) as refused:
        await hand_in(request, signatures)
    assert (refused.value.status, refused.value.code) == (409, "token-signatures-too-late")
    await past_the_gateway(request, request.papers[0], signatures)
    assert not any(document.verified or document.posted for document in request.seen.documents.values())


async def test_a_second_signature_of_a_posted_document_emits_nothing(client: Client, signers: Signers) -> None:
    """I-25."""
    request = await asked(client, signers, 1)
    (paper,) = request.papers
    async with signers.token() as token:
        first = await signers.first.signatures(token, request.manifest)
        second = await signers.first.signatures(token, request.manifest, clock=lambda: utc_now() + timedelta(seconds=9))
    assert first != second
    await hand_in(request, first)
    assert len((await request.end()).posted) == 1
    before = await told_of(client, paper)
    await past_the_gateway(request, paper, second)
    assert await told_of(client, paper) == before
    assert before == [topics.VERIFIED.name, topics.POSTED.name]


async def is_completed(request: Request) -> bool:
    return (await request.client.gateway.status(request.id, request.officer.user)).state == "completed"


async def past_the_gateway(request: Request, paper: Paper, signatures: dict[str, bytes]) -> None:
    """Publish a signature as whoever can write to the broker; returns once crl_verifier has handled it."""
    manifest, place = request.manifest, request.papers.index(paper)
    event = TokenSigned(
        request_id=request.id,
        header=manifest.header,
        index=place,
        entry=paper.entry,
        path=tuple(manifest.commitment().paths[place]),
        cms=signatures[paper.entry.id],
    )
    await append(request.client.stack, encode(topics.TOKEN_SIGNED, event, source="test", time=utc_now()))
    delivery_id = event_id_of(topics.TOKEN_SIGNED.name, event_id(topics.TOKEN_SIGNED, event))
    handled = "SELECT true FROM crl_verifier.inbox WHERE id = $1 AND NOT parked"
    await eventually(partial(request.client.value, handled, delivery_id), "crl_verifier has handled it")
    unpublished = "SELECT count(*) = 0 FROM crl_verifier.unpublished"
    await eventually(partial(request.client.value, unpublished), "crl_verifier has published what it decided")
    await request.client.chain.drain()


async def told_of(client: Client, paper: Paper) -> list[str]:
    """The topics of everything that was said of a document, in the order of the chain."""
    read = (topics.VERIFIED, topics.POSTED, topics.REJECTED)
    records = [record for record in await history(client.stack, *read) if record.key == paper.entry.id.encode()]
    return sorted((record.topic for record in records), key=[topic.name for topic in read].index)
