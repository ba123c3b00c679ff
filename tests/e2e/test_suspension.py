"""A suspended certificate signs and posts nothing until two registrars lift that; its officer is told. I-53, I-55."""

from pathlib import Path

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.signing import Completed
from services.igfmas.enrolment import Officer
from tests.e2e.test_signing import openssl_agrees, signed_of, struck_in_the_middle
from tests.e2e.test_token_ends import asked, hand_in
from tests.support.chain import Client, papers
from tests.support.copies import certified
from tests.support.officer_token import P256, TokenFolder
from tests.support.token_officers import TokenOfficer, opened
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


async def told(client: Client, officer: Officer, *texts: str) -> None:
    """Wait until one mail in the officer's mailbox says this, in both languages; it has no code in it."""

    def mails() -> list[str]:
        bodies = [" ".join(mail.get_content().lower().split()) for mail in client.stack.mailbox(officer.email)]
        return [body for body in bodies if all(text in body for text in texts)]

    await eventually(mails, f"{officer.email} is told")
    (said,) = mails()
    assert "ialah otp anda" not in said


def reasons(*ends: Completed) -> set[Reason]:
    return {one.reason for end in ends for one in end.rejected}


async def test_a_suspended_officer_signs_nothing_and_once_two_lifted_it_as_before(
    client: Client, tmp_path: Path
) -> None:
    """I-53."""
    officer = await client.enrol(algorithm="p-256")
    under_way = await client.press(officer, papers(2))
    code = await under_way.otp()
    await client.desk.suspend(officer)
    await told(client, officer, "sijil digital anda telah digantung", "your digital certificate was suspended")
    await certified(client, officer.credential_id, "suspended")
    await under_way.authorise(otp=code)
    refused = await under_way.end()
    late = await client.press(officer, papers(1))
    later = await late.end()
    assert refused.posted == later.posted == ()
    assert reasons(refused, later) == {Reason.CERTIFICATE_SUSPENDED}
    assert not any(document.signatures for document in under_way.seen.documents.values())
    kept = "SELECT wrapped IS NOT NULL AND destroyed_at IS NULL FROM hsm_signer.credential WHERE credential_id = $1"
    assert await client.value(kept, officer.credential_id), "the key waits for the officer"

    await client.desk.lift(officer)
    await told(client, officer, "telah ditarik balik", "suspension of your digital certificate was lifted")
    await certified(client, officer.credential_id, "good")
    again = await client.press(officer, under_way.papers)
    assert len((await again.sign()).posted) == 2
    await openssl_agrees(client, again, tmp_path)


async def test_a_pukal_whose_officer_is_suspended_in_its_middle_stops_there_and_the_rest_is_signed_after_the_lifting(
    client: Client,
) -> None:
    """I-15, I-53: what was authorised is no licence, and no lifting brings it back: the rest is asked for anew."""
    officer = await client.enrol()
    struck = await struck_in_the_middle(client, officer, client.desk.suspend)
    assert struck.reasons == {Reason.CERTIFICATE_SUSPENDED}

    await client.desk.lift(officer)
    await certified(client, officer.credential_id, "good")
    rest = [paper for paper in struck.request.papers if paper.entry.id not in struck.posted]
    end = await (await client.press(officer, rest)).sign()
    assert {one.document_id for one in end.posted} == {paper.entry.id for paper in rest}
    assert await signed_of(struck.request) == struck.signed, "nothing goes on by itself"


async def test_an_officer_who_is_suspended_again_is_lifted_again_and_revoked_in_the_end(client: Client) -> None:
    """I-53: the sequence of orders goes on; after the revocation nothing of it brings the officer back."""
    officer = await client.enrol(algorithm="p-256")
    for _ in range(2):
        await client.desk.suspend(officer)
        await client.desk.lift(officer)
    await certified(client, officer.credential_id, "good")
    assert (await (await client.press(officer, papers(1))).sign()).posted
    await client.desk.suspend(officer)
    await client.desk.revoke(officer)
    await certified(client, officer.credential_id, "revoked")
    destroyed = "SELECT destroyed_at IS NOT NULL FROM hsm_signer.credential WHERE credential_id = $1"
    assert await client.value(destroyed, officer.credential_id)
    end = await (await client.press(officer, papers(1))).end()
    assert (end.posted, reasons(end)) == ((), {Reason.CERTIFICATE_REVOKED})


async def test_a_suspended_token_signs_nothing_until_two_lifted_it(client: Client, tmp_path: Path) -> None:
    """I-26, I-53: also not what the token signed before; that was refused, and is signed anew."""
    own = TokenFolder.create(tmp_path / "hsm")
    async with opened(own, P256) as token:
        officer = await TokenOfficer.enrol(client, token)
        credential_id = officer.certificate.credential_id
        request = await asked(client, officer, 2)
        signatures = await officer.signatures(token, request.manifest)
        await client.desk.suspend(officer.officer)
        await certified(client, credential_id, "suspended")
        await hand_in(request, signatures)
        completed = await request.end()
        later = await (await client.press(officer.officer, papers(1))).end()
        assert completed.posted == later.posted == ()
        assert reasons(completed, later) == {Reason.CERTIFICATE_SUSPENDED}

        await client.desk.lift(officer.officer)
        await certified(client, credential_id, "good")
        again = await asked(client, officer, 1)
        await hand_in(again, await officer.signatures(token, again.manifest))
        assert len((await again.end()).posted) == 1
