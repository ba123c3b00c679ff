"""How a token's right to sign ends, and how its requests do: by revocation, by a move, by a cancel, by time."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from libs.contracts.reasons import Reason
from libs.contracts.signing import RESERVE_WITHIN, Completed
from tests.e2e.test_cancelling import answers, take_back
from tests.support.chain import Client, Request, papers
from tests.support.copies import certified, registered
from tests.support.officer_token import P256, RSA, TokenFolder
from tests.support.token_officers import TokenOfficer, opened
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TokenFolder]:
    """A token with two keys, each of an officer of its own."""
    yield TokenFolder.create(tmp_path_factory.mktemp("token") / "hsm")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def signer(client: Client, folder: TokenFolder) -> AsyncIterator[TokenOfficer]:
    """An officer whose token stays good."""
    async with opened(folder, RSA) as token:
        found = await TokenOfficer.enrol(client, token)
    yield found


async def asked(client: Client, officer: TokenOfficer, count: int) -> Request:
    """A request that waits for the officer's token."""
    request = await client.press(officer.officer, papers(count))
    query = "SELECT medium FROM gateway.request WHERE request_id = $1"

    async def awaited() -> bool:
        return bool(await client.value(query, request.id) == "token")

    await eventually(awaited, "the medium is known")
    kept = "SELECT true FROM crl_verifier.token_request WHERE request_id = $1"
    await eventually(partial(client.value, kept, request.id), "crl_verifier has the request")
    return request


async def hand_in(request: Request, signatures: dict[str, bytes], *names: str) -> None:
    chosen = {name: signatures[name] for name in names or signatures}
    await request.client.gateway.token_signatures(request.id, request.officer.user, chosen)


def refused(completed: Completed) -> dict[str, Reason]:
    return {name: one.reason for one in completed.rejected for name in one.documents or ()}


async def test_one_document_is_posted(client: Client, folder: TokenFolder, signer: TokenOfficer) -> None:
    request = await asked(client, signer, 1)
    async with opened(folder, RSA) as token:
        await hand_in(request, await signer.signatures(token, request.manifest))
    assert len((await request.end()).posted) == 1


async def test_a_cancel_in_the_middle_posts_what_was_verified_and_rejects_the_rest(
    client: Client, folder: TokenFolder, signer: TokenOfficer
) -> None:
    """I-23, I-25."""
    request = await asked(client, signer, 5)
    names = [paper.entry.id for paper in request.papers]
    async with opened(folder, RSA) as token:
        signatures = await signer.signatures(token, request.manifest)
    await hand_in(request, signatures, *names[:2])
    documents = request.seen.documents
    await request.until(lambda: all(documents[name].verified for name in names[:2]), "two are verified")
    asked_for = await take_back(request)
    completed = await request.end()
    assert [one.document_id for one in completed.posted] == names[:2]
    assert refused(completed) == dict.fromkeys(names[2:], Reason.CANCELLED)
    assert await answers(request) == [(asked_for, "accepted")]


async def test_what_is_not_signed_within_its_time_expires_and_what_is_stays_posted(
    client: Client, folder: TokenFolder, signer: TokenOfficer
) -> None:
    """I-25."""
    request = await asked(client, signer, 2)
    first, second = (paper.entry.id for paper in request.papers)
    async with opened(folder, RSA) as token:
        await hand_in(request, await signer.signatures(token, request.manifest), first)
    documents = request.seen.documents
    await request.until(lambda: documents[first].verified is not None, "the first is verified")
    at = await client.value("SELECT at - now() FROM crl_verifier.due WHERE request_id = $1", request.id)
    assert timedelta(hours=7.9) < at - RESERVE_WITHIN <= timedelta(hours=8)
    past = (
        "UPDATE crl_verifier.token_request SET expires_at = now() - $2::interval WHERE request_id = $1 RETURNING true"
    )
    await client.value(past, request.id, RESERVE_WITHIN)
    await client.value("UPDATE crl_verifier.due SET at = now() WHERE request_id = $1 RETURNING true", request.id)
    completed = await request.end()
    assert [one.document_id for one in completed.posted] == [first]
    assert refused(completed) == {second: Reason.EXPIRED}


async def test_who_moves_to_roaming_signs_with_the_token_no_more_and_with_pin_and_otp_at_once(
    client: Client, folder: TokenFolder
) -> None:
    """I-26."""
    async with opened(folder, P256) as token:
        officer = await TokenOfficer.enrol(client, token)
        request = await asked(client, officer, 1)
        signatures = await officer.signatures(token, request.manifest)
    moved = dataclasses.replace(officer.officer, application=uuid4())
    await client.desk.enrol(moved)
    await registered(client, moved.user, moved.credential_id)
    await hand_in(request, signatures)
    completed = await request.end()
    assert completed.posted == ()
    assert set(refused(completed).values()) == {Reason.CERTIFICATE_MISMATCH}
    assert len((await (await client.press(moved, papers(1))).sign()).posted) == 1


async def test_a_revoked_token_signs_nothing_more(client: Client, tmp_path: Path) -> None:
    """I-26."""
    own = TokenFolder.create(tmp_path / "hsm")
    async with opened(own, P256) as token:
        officer = await TokenOfficer.enrol(client, token)
        request = await asked(client, officer, 1)
        signatures = await officer.signatures(token, request.manifest)
    await client.desk.revoke(officer.officer)
    await certified(client, officer.certificate.credential_id, "revoked")
    await hand_in(request, signatures)
    completed = await request.end()
    assert completed.posted == ()
    assert set(refused(completed).values()) == {Reason.CERTIFICATE_REVOKED}
    later = await (await client.press(officer.officer, papers(1))).end()
    assert {one.reason for one in later.rejected} == {Reason.CERTIFICATE_REVOKED}
