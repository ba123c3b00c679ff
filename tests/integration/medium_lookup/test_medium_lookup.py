"""medium_lookup on real Kafka and PostgreSQL: one answer per request, and none to a forgery."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.manifest import MAX_DOCUMENTS
from libs.contracts.reasons import Reason
from libs.contracts.signing import Requested
from libs.contracts.state import User
from libs.contracts.token_route import MAX_TOKEN_DOCUMENTS
from services.medium_lookup import handlers
from tests.integration.medium_lookup.conftest import Lookup
from tests.support.pki import Pki
from tests.support.requests import (
    certificate_state,
    document,
    documents,
    header,
    key_state,
    new_user,
    requested,
    user_state,
)
from tests.support.waiting import eventually, loop_is_never_held


async def test_the_same_request_ten_times_is_resolved_once(lookup: Lookup) -> None:
    user = await lookup.user(channels=("e-mail", "gpki-mobile"))
    event = requested(header(user.user, 3), documents(3), lookup.caller)
    for _ in range(10):
        await lookup.room.send(lookup.routes.requested, [event])
    await lookup.handled(10)
    (resolved,) = lookup.resolved()
    assert str(resolved.request_id) == event.key
    assert (resolved.medium, resolved.credential_id) == ("roaming-otp", user.credential_id)
    assert resolved.channels == ("e-mail", "gpki-mobile")
    assert resolved.signed.manifest.commitment().root == event.commitment.root
    assert (resolved.signed.caller_key, resolved.signed.signature) == (event.caller_key, event.signature)
    first = min(record.timestamp for record in await _requests(lookup))
    assert resolved.requested_at.timestamp() * 1000 == pytest.approx(first, abs=1)
    assert lookup.dead_letters() == []


async def test_other_content_under_the_same_id_is_put_aside_and_ends_nothing(lookup: Lookup) -> None:
    user = await lookup.user()
    head = header(user.user)
    await lookup.room.send(lookup.routes.requested, [requested(head, documents(1), lookup.caller)])
    other = requested(head, [document(7, amount="9.00")], lookup.caller)
    await lookup.room.send(lookup.routes.requested, [other])
    await lookup.handled(2)
    (resolved,) = lookup.resolved()
    assert resolved.signed.manifest.documents[0].amount == "100.50"
    (why,) = lookup.dead_letters()
    assert why.startswith(Reason.ID_CONFLICT)
    assert other.commitment.root.hex() in why
    assert lookup.rejected(resolved.request_id) == []


async def test_a_forged_request_goes_to_the_dead_letter_and_leaves_its_id_to_the_true_one(lookup: Lookup) -> None:
    user = await lookup.user()
    true = requested(header(user.user), documents(1), lookup.caller)
    forged = [
        true.model_copy(update={"signature": b"x" * 64}),
        true.model_copy(update={"caller_key": "00" * 32}),
        true.model_copy(update={"manifest": requested(_head(true), [document(8)], lookup.caller).manifest}),
        requested(_head(true), documents(1), lookup.pki.caller()),
    ]
    await lookup.room.send(lookup.routes.requested, forged)
    await lookup.handled(len(forged))
    assert lookup.dead_letters() == [Reason.CALLER_SIGNATURE_INVALID] * len(forged)
    assert lookup.resolved() == []
    await lookup.room.send(lookup.routes.requested, [true])
    await lookup.handled(len(forged) + 1)
    (resolved,) = lookup.resolved()
    assert str(resolved.request_id) == true.key
    assert lookup.rejected(resolved.request_id) == []


async def test_a_key_of_another_root_is_never_a_callers(lookup: Lookup) -> None:
    """Whoever can write the topic of keys can add none of his own."""
    foreign = Pki(now=lookup.pki.now)
    intruder = foreign.caller()
    await lookup.room.send(lookup.routes.keys, [key_state(intruder, "caller", "igfmas", foreign)])
    await lookup.tap.until(lambda: lookup.dead_letters(lookup.routes.keys), "the key was put aside")
    user = await lookup.user()
    await lookup.room.send(lookup.routes.requested, [requested(header(user.user), documents(1), intruder)])
    await lookup.handled(1)
    assert lookup.dead_letters() == [Reason.CALLER_SIGNATURE_INVALID]
    assert lookup.resolved() == []


async def test_every_refusal_is_told_with_its_reason_and_once(lookup: Lookup) -> None:
    async def known(reason: Reason, event_of: Any = None, **values: Any) -> tuple[Reason, Requested]:
        user = await lookup.user(**values)
        return reason, event_of(user) if event_of else _ask(user)

    def _ask(user: User, listed: list[dict[str, str]] | None = None, **head: str) -> Requested:
        listed = listed or documents(1)
        return requested(header(user.user, len(listed), **head), listed, lookup.caller)

    too_many, too_many_for_a_token = documents(MAX_DOCUMENTS + 1), documents(MAX_TOKEN_DOCUMENTS + 1)
    wanted = [
        await known(Reason.CALLER_NOT_ALLOWED, lambda user: _ask(user, system="eSPKWS")),
        await known(Reason.MANIFEST_INVALID, lambda user: _ask(user, count="2")),
        await known(Reason.DOCUMENT_DUPLICATE, lambda user: _ask(user, [document(1), document(1)])),
        await known(Reason.TOO_MANY_DOCUMENTS, lambda user: _ask(user, too_many)),
        await known(Reason.USER_HAS_NO_CERTIFICATE, credential_id=None),
        await known(Reason.TOO_MANY_DOCUMENTS, lambda user: _ask(user, too_many_for_a_token), medium="token"),
        await known(Reason.CERTIFICATE_REVOKED, certificate={"status": "revoked"}),
        await known(Reason.CERTIFICATE_SUSPENDED, certificate={"status": "suspended"}),
        await known(Reason.CERTIFICATE_MISMATCH, certificate={"user": "999999999999"}),
        (Reason.USER_UNKNOWN, _ask(user_state(new_user()))),
    ]
    for _ in range(2):
        await lookup.room.send(lookup.routes.requested, [event for _, event in wanted])

    def told() -> bool:
        return all(lookup.rejected(_id(event)) for _, event in wanted)

    await lookup.tap.until(told, "every refusal told")
    await lookup.handled(2 * len(wanted))
    for reason, event in wanted:
        (rejected,) = lookup.rejected(_id(event))
        assert (rejected.reason, rejected.stage, rejected.documents) == (reason, "medium_lookup", None)
        assert rejected.safe_to_retry is reason.safe_to_retry
    assert lookup.resolved() == []
    assert lookup.dead_letters() == []


@pytest.mark.parametrize("lookup", [frozenset({"roaming-otp"})], indirect=True)
async def test_where_tokens_are_no_longer_signed_with_their_officers_are_told_so(lookup: Lookup) -> None:
    user = await lookup.user(medium="token")
    event = requested(header(user.user), documents(1), lookup.caller)
    await lookup.room.send(lookup.routes.requested, [event])
    await lookup.handled(1)
    (rejected,) = lookup.rejected(UUID(event.key))
    assert (rejected.reason, rejected.documents) == (Reason.MEDIUM_UNSUPPORTED, None)
    assert lookup.resolved() == []


async def test_a_certificate_that_never_comes_is_refused_after_one_wait(lookup: Lookup) -> None:
    user = user_state(new_user())
    await lookup.room.send(lookup.routes.user, [user])
    event = requested(header(user.user), documents(1), lookup.caller)
    await lookup.room.send(lookup.routes.requested, [event])
    await lookup.tap.until(lambda: lookup.rejected(_id(event)), "refused")
    (rejected,) = lookup.rejected(_id(event))
    assert rejected.reason is Reason.CERTIFICATE_UNKNOWN


async def test_a_user_whose_state_comes_a_moment_later_is_waited_for(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "OVERTAKEN", timedelta(hours=1))  # its end is said below
    user = user_state(new_user())
    event = requested(header(user.user), documents(1), lookup.caller)
    await lookup.room.send(lookup.routes.requested, [event])

    async def parked() -> bool:
        return await lookup.room.pool.fetchval("select count(*) from due where why = $1", Reason.USER_UNKNOWN) == 1

    await eventually(parked, "the request waits")
    await lookup.room.send(lookup.routes.certificate, [certificate_state(user)])
    await lookup.tell(lookup.routes.user, user)
    await lookup.room.pool.execute("update due set at = now()")
    await lookup.tap.until(lookup.resolved, "resolved")
    (resolved,) = lookup.resolved()
    assert str(resolved.request_id) == event.key
    assert lookup.rejected(resolved.request_id) == []


async def test_ten_thousand_documents_are_resolved_without_holding_the_event_loop(lookup: Lookup) -> None:
    user = await lookup.user()
    event = requested(header(user.user, MAX_DOCUMENTS), documents(MAX_DOCUMENTS), lookup.caller)
    await lookup.room.send(lookup.routes.requested, [event])
    async with loop_is_never_held():
        await lookup.room.all_committed(lookup.routes.requested, 1)
    await lookup.tap.read()
    (resolved,) = lookup.resolved()
    assert len(resolved.signed.manifest.documents) == MAX_DOCUMENTS


def _id(event: Requested) -> object:
    return event.identity()[0]


def _head(event: Requested) -> dict[str, str]:
    return event.manifest.header


async def _requests(lookup: Lookup) -> list[Any]:
    await lookup.tap.read()
    return lookup.tap.of(lookup.routes.requested)
