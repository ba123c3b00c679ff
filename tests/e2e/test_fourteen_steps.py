"""The slides' 14 steps, each by its number, for both media: what is there when the step is done."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from libs.contracts import topics
from libs.contracts.signing import Medium, MediumResolved, OtpDispatched
from libs.gpki_client import Problem, Status
from services.igfmas.enrolment import Officer
from services.igfmas.keys import CALLER
from tests.support.chain import Client, Request, papers
from tests.support.journal import history, of_request
from tests.support.officer_token import RSA, TokenFolder
from tests.support.token_officers import TokenOfficer, opened
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

COUNT = 3


@dataclass(frozen=True)
class Walk:
    """One request of a medium that went all the way, with the status as it was before the officer signed."""

    client: Client
    medium: Medium
    officer: Officer
    request: Request
    before: Status

    @property
    def roaming(self) -> bool:
        return self.medium == "roaming-otp"

    async def status(self) -> Status:
        return await self.client.gateway.status(self.request.id, self.officer.user)


async def by_roaming(client: Client) -> Walk:
    officer = await client.enrol()
    request = await client.press(officer, papers(COUNT))
    otp = await request.otp()
    before = await client.gateway.status(request.id, officer.user)
    await request.authorise(otp=otp)
    await request.end()
    return Walk(client, "roaming-otp", officer, request, before)


async def by_token(client: Client, folder: TokenFolder) -> Walk:
    async with opened(folder, RSA) as token:
        signer = await TokenOfficer.enrol(client, token)
        officer = signer.officer
        request = await client.press(officer, papers(COUNT))
        async for event in client.gateway.follow(request.id, officer.user):
            if event.kind == "medium-resolved":
                break
        before = await client.gateway.status(request.id, officer.user)
        signatures = await signer.signatures(token, request.manifest)
    await client.gateway.token_signatures(request.id, officer.user, signatures)
    await request.end()
    return Walk(client, "token", officer, request, before)


MEDIA: tuple[Medium, ...] = ("roaming-otp", "token")


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=MEDIA)
async def walk(
    request: pytest.FixtureRequest, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Walk]:
    if request.param == "token":
        done = await by_token(client, TokenFolder.create(tmp_path_factory.mktemp("steps") / "hsm"))
    else:
        done = await by_roaming(client)

    async def shown() -> bool:
        return (await done.status()).state == "completed"

    await eventually(shown, "the gateway knows the end")
    await client.chain.drain()  # what came before the end may be read after it
    yield done


async def test_step_1_the_officer_is_logged_in_and_nobody_else_asks_for_him(walk: Walk) -> None:
    assert (await walk.status()).request_id == walk.request.id
    with pytest.raises(Problem) as refused:
        await walk.client.gateway.status(walk.request.id, "600101000000")
    assert refused.value.status == 404


async def test_step_2_pressing_the_button_publishes_the_documents_that_were_opened(walk: Walk) -> None:
    (record,) = await of_request(walk.client.stack, topics.REQUESTED, walk.request.id)
    event = topics.REQUESTED.event.model_validate_json(record.value or b"")
    assert (record.key or b"").decode() == str(walk.request.id)
    assert event.manifest.header == walk.request.manifest.header.model_dump()  # type: ignore[attr-defined]
    assert [one["id"] for one in event.manifest.documents] == [  # type: ignore[attr-defined]
        paper.entry.id for paper in walk.request.papers
    ]


async def test_step_3_the_api_tells_the_officer_s_medium(walk: Walk) -> None:
    told = await walk.client.gateway.medium(walk.officer.user)
    assert (told.user, told.medium) == (walk.officer.user, walk.medium)


async def test_step_4_the_medium_is_looked_up_among_the_registered(walk: Walk) -> None:
    (record,) = await of_request(walk.client.stack, topics.MEDIUM_RESOLVED, walk.request.id)
    event = MediumResolved.model_validate_json(record.value or b"")
    assert (event.medium, event.credential_id) == (walk.medium, walk.officer.credential_id)
    assert event.signed.manifest.header.caller == CALLER


async def test_step_5_the_medium_decides_what_the_screen_asks_for(walk: Walk) -> None:
    assert (walk.before.medium, bool(walk.before.dispatches)) == (walk.medium, walk.roaming)


async def test_step_6_an_otp_is_asked_for_where_the_medium_needs_one(walk: Walk) -> None:
    records = await of_request(walk.client.stack, topics.OTP_DISPATCHED, walk.request.id)
    events = [OtpDispatched.model_validate_json(record.value or b"") for record in records]
    assert [event.number for event in events] == ([1] if walk.roaming else [])


async def test_step_7_the_otp_goes_to_the_officer_s_own_mailbox_with_the_reference_on_the_screen(walk: Walk) -> None:
    mails = await asyncio.to_thread(walk.client.stack.mailbox, walk.officer.email)
    references = [one.reference_code for one in walk.before.dispatches]
    assert len(mails) == len(references) == (1 if walk.roaming else 0)
    assert all(reference in str(mail["Subject"]) for reference, mail in zip(references, mails, strict=True))


async def test_step_8_what_the_officer_signs_with_is_handed_in_once(walk: Walk) -> None:
    submitted = await of_request(walk.client.stack, topics.AUTHORISATION_SUBMITTED, walk.request.id)
    documents = {paper.entry.id.encode() for paper in walk.request.papers}
    signed = [one for one in await history(walk.client.stack, topics.TOKEN_SIGNED) if one.key in documents]
    assert (len(submitted), len(signed)) == ((1, 0) if walk.roaming else (0, COUNT))


async def test_step_9_the_status_of_the_signing_can_be_asked_for(walk: Walk) -> None:
    assert walk.before.state in {"awaiting-authorisation", "awaiting-token-signatures"}
    assert (await walk.status()).counts.posted == COUNT


async def test_step_10_the_answer_is_a_signature_per_document(walk: Walk) -> None:
    seen = walk.request.seen.documents.values()
    if walk.roaming:
        assert all(len(document.signatures) == 1 for document in seen)
        assert (await walk.status()).counts.signed == COUNT
    else:
        assert not any(document.signatures for document in seen), "the server has no key of this officer"


async def test_step_11_every_document_is_verified(walk: Walk) -> None:
    verified = [document.verified for document in walk.request.seen.documents.values()]
    assert all(one is not None and len(one.certificate_path) == 3 for one in verified)
    assert {one.authorisation.channel for one in verified if one} == {"e-mail" if walk.roaming else "token"}


async def test_step_12_against_the_crl_of_each_authority(walk: Walk) -> None:
    for document in walk.request.seen.documents.values():
        assert document.verified is not None
        assert len({crl.issuer for crl in document.verified.crls}) == 2
        assert all(crl.this_update <= document.verified.verified_at < crl.next_update for crl in document.verified.crls)


async def test_step_13_the_success_is_told_document_by_document(walk: Walk) -> None:
    ended = walk.request.seen.ended
    assert ended is not None
    assert {one.document_id for one in ended.posted} == {paper.entry.id for paper in walk.request.papers}
    assert ended.rejected == ()


async def test_step_14_the_document_is_posted_and_its_signing_information_kept(walk: Walk) -> None:
    query = "SELECT count(*) FROM posting.record JOIN posting.signing_log USING (record_id) WHERE request_id = $1"
    assert await walk.client.value(query, walk.request.id) == COUNT
    records = [record for document in walk.request.seen.documents.values() for record, _ in document.records]
    assert len(set(records)) == COUNT
