"""An officer's medium is told to the officer's own token and to nobody else; "no" and "not known yet" differ."""

from datetime import timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import httpx
import pytest

from libs.bus.outcomes import Unavailable
from libs.contracts.problems import ProblemCode
from libs.contracts.state import Certificate, User
from libs.storage import state
from services.gateway.authentication import Caller
from services.gateway.media import Media
from services.gateway.problems import ProblemError
from services.gateway.schemas import UserMedium
from tests.integration.gateway.conftest import Door, code_of
from tests.support.requests import certificate_state, new_user, user_state
from tests.support.waiting import eventually


async def keep(door: Door, user: User, certificate: Certificate | None = None) -> None:
    """Publish the state and wait until it is kept."""
    await door.room.send(door.routes.user, [user])
    if certificate is not None:
        await door.room.send(door.routes.certificate, [certificate])

    async def known() -> bool:
        async with door.room.pool.acquire() as connection:
            found = await state.user(connection, user.user)
            listed = [] if certificate is None else [certificate.credential_id]
            return found == user and len(await state.certificates(connection, listed)) == len(listed)

    await eventually(known, "the state is kept")


async def medium(door: Door, user: str, token_of: str | None = None) -> httpx.Response:
    return await door.get(f"/v1/users/{user}/medium", door.token(token_of or user))


def told(answer: httpx.Response) -> UserMedium:
    assert answer.status_code == 200, answer.text
    return UserMedium.model_validate_json(answer.content)


@pytest.mark.parametrize("status", ["good", "suspended", "revoked"])
async def test_the_medium_is_told_with_channels_in_order_and_the_certificates_state(door: Door, status: Any) -> None:
    user = user_state(new_user(), channels=("gpki-mobile", "e-mail"))
    officer = door.pki.officer(user.user, validity=door.pki.validity(days=90))
    await keep(door, user, certificate_state(user, status=status, certificate=officer.der))
    found = told(await medium(door, user.user))
    assert (found.user, found.medium, found.channels) == (user.user, "roaming-otp", ("gpki-mobile", "e-mail"))
    assert found.certificate is not None
    assert found.certificate.status == status
    assert found.certificate.not_after is not None
    assert abs(found.certificate.not_after - door.pki.now - timedelta(days=90)) < timedelta(seconds=2)


async def test_without_a_certificate_there_is_none_and_an_unreadable_one_has_no_end(door: Door) -> None:
    uncertified = user_state(new_user(), medium="token", credential_id=None)
    await keep(door, uncertified)
    found = told(await medium(door, uncertified.user))
    assert (found.medium, found.certificate) == ("token", None)
    strange = user_state(new_user())
    await keep(door, strange, certificate_state(strange))
    certificate = told(await medium(door, strange.user)).certificate
    assert certificate is not None
    assert certificate.not_after is None
    foreign = user_state(new_user())
    await keep(door, foreign, certificate_state(foreign, user=new_user()))
    assert told(await medium(door, foreign.user)).certificate is None


async def test_another_user_does_not_exist_registered_or_not(door: Door) -> None:
    user = user_state(new_user())
    await keep(door, user)
    answers = [
        await medium(door, user.user, new_user()),
        await medium(door, new_user(), user.user),
        await medium(door, new_user()),
    ]
    assert [code_of(answer) for answer in answers] == [ProblemCode.NOT_FOUND] * 3
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert code_of(await medium(door, "12345", user.user)) is ProblemCode.BODY_INVALID


async def test_while_the_state_is_still_read_an_absence_is_no_answer(door: Door) -> None:
    unknown, uncertified = new_user(), user_state(new_user(), credential_id=UUID(int=7))
    await keep(door, uncertified)
    reading, read = Media(door.room.pool, lambda: False), Media(door.room.pool, lambda: True)
    for user in (unknown, uncertified.user):
        caller = Caller("igfmas", user, uuid4().hex, door.pki.now)
        with pytest.raises(Unavailable, match="state"):
            await reading.of(user, caller)
    with pytest.raises(ProblemError, match="not-found"):
        await read.of(unknown, Caller("igfmas", unknown, "j", door.pki.now))
    assert (await read.of(uncertified.user, Caller("igfmas", uncertified.user, "j", door.pki.now))).certificate is None


def test_every_state_of_a_certificate_can_be_told() -> None:
    states = Certificate.model_fields["status"].annotation
    assert set(get_args(states)) == {"good", "suspended", "revoked"}
