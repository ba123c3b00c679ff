"""The roaming route end to end: what is asked for is signed, verified and posted, and says no to what must not be."""

import asyncio
import dataclasses
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.contracts import topics
from libs.contracts.manifest import MAX_DOCUMENTS
from libs.contracts.reasons import Reason
from services.igfmas.documents import Paper
from services.igfmas.enrolment import Officer
from tests.support.chain import Client, Officers, Request, papers
from tests.support.documents import SIGNED
from tests.support.faults import Held
from tests.support.journal import header, of_request
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


async def test_a_voucher_is_certified_by_one_officer_and_approved_by_another(
    client: Client, officers: Officers, tmp_path: Path
) -> None:
    vouchers = papers(1)
    for officer, action in ((officers.maker, "sah"), (officers.checker, "peraku")):
        request = await client.press(officer, vouchers, action)  # type: ignore[arg-type]
        completed = await request.sign()
        assert [one.document_id for one in completed.posted] == [vouchers[0].entry.id]
        assert completed.rejected == ()
        await openssl_agrees(client, request, tmp_path / action)


async def test_the_same_officer_cannot_certify_and_approve(client: Client, officers: Officers) -> None:
    vouchers = papers(1)
    assert (await (await client.press(officers.maker, vouchers, "sah")).sign()).posted
    completed = await (await client.press(officers.maker, vouchers, "peraku")).sign()
    assert completed.posted == ()
    assert [one.reason for one in completed.rejected] == [Reason.SAH_NOT_POSTED]


@pytest.mark.parametrize(
    ("count", "lane"), [(50, topics.AUTHORISATION_SUBMITTED), (60, topics.AUTHORISATION_SUBMITTED_BULK)]
)
async def test_a_pukal_is_signed_with_one_pin_and_one_code(
    client: Client, officers: Officers, tmp_path: Path, count: int, lane: topics.Topic
) -> None:
    request = await client.press(officers.maker, papers(count))
    completed = await request.sign()
    assert [one.document_id for one in completed.posted] == [paper.entry.id for paper in request.papers]
    await client.chain.drain()
    assert all(len(document.signatures) == len(document.records) == 1 for document in request.seen.documents.values())
    # By Message-ID: a test that killed otp_dispatch before may have had a code sent twice, never a second code.
    mails = {mail["Message-ID"] for mail in client.stack.mailbox(officers.maker.email)}
    assert len(mails) == await client.value(
        "SELECT count(*) FROM otp_dispatch.code JOIN hsm_signer.request USING (request_id) WHERE credential_id = $1",
        officers.maker.credential_id,
    )
    submitted = await of_request(client.stack, lane, request.id)
    assert len(submitted) == 1
    await openssl_agrees(client, request, tmp_path)


async def test_a_p256_officer_signs_too(client: Client, tmp_path: Path) -> None:
    request = await client.press(await client.enrol(algorithm="p-256"), papers(3))
    assert len((await request.sign()).posted) == 3
    await openssl_agrees(client, request, tmp_path)


async def test_events_come_in_the_order_of_the_chain(client: Client, officers: Officers) -> None:
    request = await client.press(officers.maker, papers(3))
    await request.sign()
    await client.chain.drain()  # read in no order of topics
    seen = request.seen
    (completed,) = await of_request(client.stack, topics.COMPLETED, request.id)
    for document in seen.documents.values():
        times = [
            seen.requested_at,
            seen.resolved_at,
            seen.dispatched[1][0],
            seen.submitted_at[0],
            document.signed_at,
            document.verified_at,
            document.posted_at,
        ]
        assert all(times), times
        assert times == sorted(times, key=lambda at: at or 0)
    # `completed` is published with the last `posted`, on another topic: recorded after all of them, sent beside it.
    assert header(completed, "ce_type")
    assert seen.ended is not None
    assert {one.record_id for one in seen.ended.posted} == {
        record for document in seen.documents.values() for record, _ in document.records
    }


async def test_requests_of_several_officers_at_once_do_not_meet(client: Client, officers: Officers) -> None:
    async def sign(number: int) -> Request:
        request = await client.press((officers.maker, officers.checker)[number % 2], papers(2))
        await request.sign()
        return request

    done = await asyncio.gather(*(sign(number) for number in range(8)))
    for request in done:
        assert request.seen.ended is not None
        assert {one.document_id for one in request.seen.ended.posted} == {paper.entry.id for paper in request.papers}
    positions = [position for r in done for d in r.seen.documents.values() for _, position in d.records]
    assert len(set(positions)) == len(positions) == 16


async def test_a_user_whom_nobody_registered_is_refused(client: Client) -> None:
    request = await client.press(client.new_officer(), papers(2))
    completed = await request.end()
    assert completed.posted == ()
    assert [one.reason for one in completed.rejected] == [Reason.USER_UNKNOWN]


async def test_a_revoked_certificate_signs_nothing_more(client: Client) -> None:
    """I-15."""
    officer = await client.enrol(algorithm="p-256")
    assert (await (await client.press(officer, papers(1))).sign()).posted
    under_way = await client.press(officer, papers(2))
    code = await under_way.otp()
    await client.desk.revoke(officer)
    destroyed = (
        "SELECT wrapped IS NULL AND destroyed_at IS NOT NULL FROM hsm_signer.credential WHERE credential_id = $1"
    )
    await eventually(lambda: client.value(destroyed, officer.credential_id), "revocation destroys the key")

    await under_way.authorise(otp=code)
    refused = await under_way.end()
    late = await client.press(officer, papers(1))
    await late.until(lambda: bool(late.seen.dispatched), "a code or the end")
    if late.seen.ended is None:  # medium_lookup had not heard of it yet: then the signer refuses
        await late.authorise(otp=await late.otp())
    later = await late.end()

    assert refused.posted == later.posted == ()
    assert {one.reason for one in (*refused.rejected, *later.rejected)} == {Reason.CERTIFICATE_REVOKED}
    assert not any(document.signatures for document in under_way.seen.documents.values())


TOLD = "SELECT version > 1 FROM hsm_signer.certificate_state WHERE credential_id = $1"


@dataclass(frozen=True)
class Struck:
    """A request that ended in its middle: its documents by what became of them, and why the others were rejected."""

    request: Request
    signed: set[str]
    posted: set[str]
    reasons: set[Reason]


async def struck_in_the_middle(
    client: Client, officer: Officer, strike: Callable[[Officer], Awaitable[object]]
) -> Struck:
    """A Pukal of 500 whose officer is struck after the first slice; every document is accounted for, once."""
    request = await client.press(officer, papers(500))
    code, documents = await request.otp(), request.seen.documents
    async with Held(client.stack, "hsm_signer", "outcome") as held:  # or all were signed before the signer is told
        await request.authorise(otp=code)
        await held.until(lambda: client.value(SIGNED, request.id))
        await strike(officer)
        await eventually(lambda: client.value(TOLD, officer.credential_id), "the signer is told")
    completed = await request.end()
    signed = await signed_of(request)
    posted = {one.document_id for one in completed.posted}
    rejected = {name for one in completed.rejected for name in one.documents or set(documents) - posted}
    assert 0 < len(signed) < 500, "not in the middle"
    assert posted <= signed
    assert (len(posted) + len(rejected), posted & rejected) == (500, set())
    return Struck(request, signed, posted, {one.reason for one in completed.rejected})


async def signed_of(request: Request) -> set[str]:
    """Documents that were ever signed: what is on the topic now, however far the client has read."""
    await request.client.chain.drain()
    return {name for name, document in request.seen.documents.items() if document.signatures}


async def test_a_certificate_revoked_in_the_middle_of_a_pukal_signs_no_further_slice(client: Client) -> None:
    """I-15: what was authorised is no licence."""
    struck = await struck_in_the_middle(client, await client.enrol(), client.desk.revoke)
    assert struck.reasons == {Reason.CERTIFICATE_REVOKED}


async def test_a_document_is_posted_once_for_an_action_whoever_asks_again(client: Client, officers: Officers) -> None:
    vouchers = papers(2)
    first = await (await client.press(officers.maker, vouchers)).sign()
    again = await (await client.press(officers.checker, vouchers)).sign()
    assert len(first.posted) == 2
    assert again.posted == ()
    assert {one.reason for one in again.rejected} == {Reason.ALREADY_POSTED}, "I-20"


async def test_a_peraku_of_other_content_than_was_certified_is_refused(client: Client, officers: Officers) -> None:
    (paper,) = papers(1)
    assert (await (await client.press(officers.maker, [paper])).sign()).posted
    dearer = dataclasses.replace(paper, entry=dataclasses.replace(paper.entry, amount="9999999.00"))
    completed = await (await client.press(officers.checker, [dearer], "peraku")).sign()
    assert completed.posted == ()
    assert [one.reason for one in completed.rejected] == [Reason.SAH_NOT_POSTED]


async def openssl_agrees(client: Client, request: Request, folder: Path) -> None:
    """Every posted signature verifies by the openssl binary with chain and CRL, and none over an altered document."""
    documents = request.seen.documents
    verified = {name: document.verified for name, document in documents.items()}
    trust = {one.crls: await client.trust.pem_for(one) for one in verified.values() if one is not None}
    await asyncio.to_thread(_judge, request.papers, verified, trust, folder)


def _judge(vouchers: Sequence[Paper], verified, trust, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    program = shutil.which("openssl")
    assert program
    for number, paper in enumerate(vouchers):
        event = verified[paper.entry.id]
        (folder / "trust.pem").write_bytes(trust[event.crls])
        (folder / "signature.p7s").write_bytes(event.cms)
        altered = bytearray(paper.content)
        altered[number % len(altered)] ^= 1
        for content, holds in ((paper.content, True), (bytes(altered), False)):
            (folder / "document").write_bytes(content)
            command = (
                f"{program} cms -verify -binary -inform DER -in signature.p7s -content document -CAfile trust.pem "
                "-crl_check_all -purpose any"
            )
            ended = subprocess.run(command.split(), cwd=folder, capture_output=True, timeout=20, check=False)
            assert (ended.returncode == 0) == holds, (paper.entry.id, holds, ended.stderr.decode())


@pytest.mark.timeout(300)
async def test_a_pukal_of_ten_thousand_is_posted_whole_with_one_pin_and_one_code(client: Client) -> None:
    """The most that a request may hold, and counts that rise on the way."""
    officer = await client.enrol(algorithm="p-256")
    request = await client.press(officer, papers(MAX_DOCUMENTS))
    await request.authorise(otp=await request.otp())
    documents = request.seen.documents
    await request.until(lambda: sum(bool(one.posted) for one in documents.values()) >= 2_000, "2,000 posted")

    async def shown() -> bool:
        return (await client.gateway.status(request.id, officer.user)).counts.posted > 0

    await eventually(shown, "the gateway counts them too")
    under_way = (await client.gateway.status(request.id, officer.user)).counts
    completed = await request.end()
    assert {one.document_id for one in completed.posted} == {paper.entry.id for paper in request.papers}
    assert completed.rejected == ()
    await client.chain.drain()
    assert all(len(one.signatures) == len(one.records) == 1 for one in documents.values())
    assert len(client.stack.mailbox(officer.email)) == 1

    async def told() -> bool:
        return (await client.gateway.status(request.id, officer.user)).state == "completed"

    await eventually(told, "the gateway knows the end")
    counts = (await client.gateway.status(request.id, officer.user)).counts
    assert 0 < under_way.posted < MAX_DOCUMENTS
    assert (counts.signed, counts.posted, counts.rejected) == (MAX_DOCUMENTS, MAX_DOCUMENTS, 0)
