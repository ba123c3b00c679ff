"""Attacks on the signer's judgement of an authorisation: each is refused, and signs once its defence is away.

Where two checks stand behind one another, each holds alone.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import AuthorisationSubmitted, MediumResolved, Rejected
from libs.crypto.public_keys import public_key_id
from libs.crypto.sealing import sealing_info
from services.hsm_signer import authorisation, authorise, challenges, signing
from services.hsm_signer.challenge_producers import ChallengeProducers
from tests.support.authorisations import submission_of
from tests.support.custody import Cabinet
from tests.support.requests import documents, medium_resolved

pytestmark = pytest.mark.stack

PIN = "Kn4ri-betul-kuda"

CHANGES: dict[str, tuple[dict[str, str], dict[str, str], int]] = {
    "one document more": ({"count": "2"}, {}, 2),
    "another amount": ({}, {"amount": "99999.00"}, 1),
    "another action": ({"action": "peraku"}, {}, 1),
}
"""What is put under a code that was sent for one document: of the header, of its document, and how many there are."""


async def made_of(cabinet: Cabinet, event: AuthorisationSubmitted, request: MediumResolved) -> str:
    """What the signer makes of it."""
    await cabinet.room.send(cabinet.submitted, [event])
    return await cabinet.outcome(request)


def not_of_root(monkeypatch: pytest.MonkeyPatch, module: Any, request: MediumResolved) -> None:
    """What is sealed for this request opens wherever it is placed."""
    of, root = str(request.request_id), request.signed.manifest.commitment().root
    monkeypatch.setattr(module, "sealing_info", lambda purpose, _id, _root, key: sealing_info(purpose, of, root, key))


def off(monkeypatch: pytest.MonkeyPatch, switched: str, genuine: MediumResolved) -> None:
    """Take away the seal that binds a challenge, the rule that reads what it is about, or both."""
    if switched in {"seal", "both"}:
        not_of_root(monkeypatch, challenges, genuine)
    if switched in {"rule", "both"}:
        monkeypatch.setattr(authorisation, "_is_about", lambda *_: True)


def with_changes(cabinet: Cabinet, request: MediumResolved, change: str) -> MediumResolved:
    """The same request for something else, signed by its caller as it should be."""
    head, entry, count = CHANGES[change]
    listed = [{**one, **entry} for one in documents(count)]
    other = medium_resolved({**request.signed.manifest.header.model_dump(), **head}, listed, cabinet.caller)
    assert other.request_id == request.request_id
    return other.model_copy(update={"credential_id": request.credential_id})


@pytest.mark.parametrize("switched", ["nothing", "seal", "rule", "both"])
@pytest.mark.parametrize("change", CHANGES)
async def test_other_documents_than_the_code_was_sent_for_are_signed_only_without_seal_and_rule(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, change: str, switched: str
) -> None:
    """I-10, I-12: malware that has PIN and code, a caller that signs what it likes, and nobody's challenge for it."""
    officer = await cabinet.enrol(PIN)
    asked = await cabinet.request(officer)
    other = with_changes(cabinet, asked, change)
    genuine, changed = await cabinet.submission(asked, pin=PIN), await cabinet.submission(other, pin=PIN)
    off(monkeypatch, switched, asked)
    made = await made_of(cabinet, changed.model_copy(update={"challenges": genuine.challenges}), other)
    assert made == ("signed" if switched == "both" else Reason.CHALLENGE_INVALID)
    assert {one.header for one in cabinet.signed_of(asked.request_id)} == (
        {other.signed.manifest.header} if switched == "both" else set()
    )


@pytest.mark.parametrize("switched", ["nothing", "seal", "rule", "both"])
async def test_the_challenge_of_another_signs_with_ones_own_pin_only_without_seal_and_rule(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, switched: str
) -> None:
    """I-12: X's code was read over the shoulder; Y puts it beside Y's PIN."""
    theirs = await cabinet.request(await cabinet.enrol(PIN))
    mine = await cabinet.request(await cabinet.enrol(PIN))
    borrowed, own = await cabinet.submission(theirs, pin=PIN), await cabinet.submission(mine, pin=PIN)
    off(monkeypatch, switched, theirs)
    made = await made_of(cabinet, own.model_copy(update={"challenges": borrowed.challenges}), mine)
    assert made == ("signed" if switched == "both" else Reason.CHALLENGE_INVALID)


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_what_was_sealed_for_one_request_is_no_authorisation_of_another(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-10: who saw PIN and OTP sealed, the gateway for one, places the blob in a request of its own making."""
    officer = await cabinet.enrol(PIN)
    first, second = await cabinet.request(officer), await cabinet.request(officer)
    taken, own = await cabinet.submission(first, pin=PIN), await cabinet.submission(second, pin=PIN)
    if defence == "off":
        not_of_root(monkeypatch, authorise, first)
    made = await made_of(cabinet, own.model_copy(update={"sealed": taken.sealed}), second)
    assert made == ("signed" if defence == "off" else Reason.SEAL_INVALID)


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_manifest_that_its_caller_did_not_sign_is_put_aside(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """medium_lookup and the gateway hand the manifest on; neither can make one."""
    officer = await cabinet.enrol(PIN)
    request = await cabinet.request(officer)
    forged = request.signed.model_copy(update={"signature": b"x" * 64})
    event = (await cabinet.submission(request, pin=PIN)).model_copy(update={"signed": forged})
    if defence == "off":
        monkeypatch.setattr(authorise, "vouches", lambda *_args, **_kwargs: True)
        assert await made_of(cabinet, event, request) == "signed"
        return
    await cabinet.room.send(cabinet.submitted, [event])
    assert await cabinet.dead_letter(cabinet.submitted) == Reason.CALLER_SIGNATURE_INVALID
    assert cabinet.signed_of(request.request_id) == []


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_challenge_that_otp_dispatch_did_not_sign_is_none(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-12: a caller makes itself a challenge of a code that it knows; it is sealed and bound as it should be."""
    officer = await cabinet.enrol(PIN)
    request = await cabinet.request(officer)
    if defence == "off":
        public = cabinet.caller.key.public_key()

        async def everybody(_self: ChallengeProducers) -> Mapping[str, Any]:
            return {public_key_id(public): public}

        monkeypatch.setattr(ChallengeProducers, "keys", everybody)
    key = await cabinet.public_key()
    made = await made_of(
        cabinet, submission_of(request, pin=PIN, otp="482913", producer=cabinet.caller, key=key), request
    )
    assert made == ("signed" if defence == "off" else Reason.CHALLENGE_INVALID)


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_suspended_certificate_signs_nothing(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """KEY-4: right PIN, right code. A revoked one has no key any more, which test_custody.py shows."""
    officer = await cabinet.enrol(PIN)
    await cabinet.certify(officer, status="suspended")
    request = await cabinet.request(officer)
    event = await cabinet.submission(request, pin=PIN)
    if defence == "off":
        for asks in (authorise, signing):  # before the PIN, and before each slice
            monkeypatch.setattr(asks, "certificate_refusal", lambda *_: None)
        assert await made_of(cabinet, event, request) == "signed"
        return
    await cabinet.room.send(cabinet.submitted, [event])
    found = await cabinet.told(topics.REJECTED, Rejected, lambda said: said.request_id == request.request_id)
    assert found.reason is Reason.CERTIFICATE_SUSPENDED
    assert cabinet.signed_of(request.request_id) == []
