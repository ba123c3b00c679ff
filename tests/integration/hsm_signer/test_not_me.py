"""The device says "not me": it ends a request as a cancel does, if it is the registered device of the officer."""

from datetime import timedelta

import pytest

from libs.bus import outcomes
from libs.contracts.not_me import NotMe
from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved
from libs.contracts.state import User
from libs.runtime import metrics
from libs.runtime.clock import utc_now
from services.hsm_signer import store
from tests.integration.hsm_signer.conftest import Signer
from tests.support.devices import Phone
from tests.support.requests import new_user, user_state
from tests.support.waiting import eventually


async def asked(signer: Signer, phone: Phone) -> tuple[User, MediumResolved]:
    """An officer with this phone, and a request in his name."""
    user = user_state(new_user(), device=phone.state, channels=("gpki-mobile", "e-mail"))
    await signer.know(user)
    request = signer.request(user)
    await signer.resolve(request)
    return user, request


def alarms(signer: Signer) -> float:
    return metrics.ALARMS.labels("hsm_signer", "not-me")._value.get()


async def test_the_devices_word_ends_the_request_once_and_calls_a_person(signer: Signer) -> None:
    """I-47."""
    phone, before = Phone(), alarms(signer)
    user, request = await asked(signer, phone)
    said = phone.not_me(request.request_id, user.user)
    await signer.deny(said)
    rejected = await signer.rejected(request)
    assert (rejected.reason, rejected.stage, rejected.documents) == (Reason.NOT_ME, "hsm_signer", None)
    assert not rejected.safe_to_retry
    assert await signer.end_reason(request) == Reason.NOT_ME
    await signer.deny(said, said)
    assert len(signer.rejections(request)) == 1
    assert alarms(signer) == before + 1


async def test_what_is_signed_stays_signed_and_the_rest_is_rejected_by_name(signer: Signer) -> None:
    """I-47."""
    phone = Phone()
    user, request = await asked(signer, phone)
    async with signer.room.pool.acquire() as connection, connection.transaction():
        found = await store.lock_request(connection, request.request_id)
        assert found is not None
        await store.authorise(
            connection,
            found,
            attempt="a",
            reserved_at=utc_now(),
            channel="gpki-mobile",
            reference_code="K7Q",
            documents=["A", "B", "C"],
        )
        assert await store.mark_signed(connection, request.request_id, [0]) == {0}
    await signer.deny(phone.not_me(request.request_id, user.user))
    rejected = await signer.rejected(request)
    assert (rejected.reason, rejected.documents) == (Reason.NOT_ME, ("B", "C"))


async def test_forged_stale_and_borrowed_words_end_nothing(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-47: of another device, of another officer, of another day, changed, or of a request that is somebody else's."""
    monkeypatch.setattr(outcomes, "OVERTAKEN", timedelta(hours=1))  # until it is had to look again
    phone, others, stranger = Phone(), Phone(), Phone()
    (user, mine), (other, theirs) = await asked(signer, phone), await asked(signer, others)
    genuine = phone.not_me(mine.request_id, user.user)
    words: list[NotMe] = [
        stranger.not_me(mine.request_id, user.user),
        stranger.not_me(mine.request_id, user.user, device_id=phone.device_id),
        phone.not_me(mine.request_id, user.user, said_at=utc_now() - timedelta(minutes=6)),
        phone.not_me(theirs.request_id, user.user),
        phone.not_me(theirs.request_id, other.user),
        genuine.model_copy(
            update={"statement": genuine.statement.model_copy(update={"request_id": theirs.request_id})}
        ),
    ]
    await signer.deny(*words)
    query = "select count(*) from due where why like 'not-me%'"

    async def waiting() -> bool:
        return await signer.room.count(query) == len(words)

    await eventually(waiting, "each is looked at twice")
    await signer.look_again()
    await signer.tap.until(lambda: len(signer.dead_letters(signer.not_me)) == len(words), "dead letters")
    assert [signer.rejections(one) for one in (mine, theirs)] == [[], []]
    await signer.deny(genuine)
    assert (await signer.rejected(mine)).reason is Reason.NOT_ME
    assert signer.rejections(theirs) == []
