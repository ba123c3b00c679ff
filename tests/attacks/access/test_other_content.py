"""Other content under the id of a request that is known: over HTTP and over Kafka it is none, and ends nothing.

Whoever has a caller's key, or the caller by mistake, asks for other documents in the place of those that were asked
for. Each call gets through once the one memory of the first content is away.
"""

from uuid import uuid4

import pytest

from libs.contracts.problems import ProblemCode
from libs.contracts.reasons import Reason
from services.gateway.starting import Starting
from tests.integration.gateway.conftest import Door, code_of
from tests.integration.gateway.test_starting import fresh, published
from tests.integration.medium_lookup.conftest import Lookup
from tests.support.requests import document, documents, header, requested

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("defence", ["on", "off"])]


async def unasked(*_: object) -> None:
    """A defence that is switched off."""


async def test_over_http_another_content_of_a_known_id_is_never_published(
    door: Door, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-29, I-4."""
    first = fresh(door)
    other = requested(first.manifest.header, [document(7, amount="99999.00")], door.caller)
    assert (await door.start(first, uuid4().hex)).status_code == 202
    if defence == "off":
        monkeypatch.setattr(Starting, "_refuse_other_content", unasked)
    answer = await door.start(other, uuid4().hex)
    if defence == "on":
        assert (answer.status_code, code_of(answer)) == (409, ProblemCode.ID_CONFLICT)
        assert await published(door, first) == [first]
    else:
        assert answer.status_code == 202
        assert await published(door, first) == [first, other]


async def test_over_kafka_another_content_of_a_known_id_is_put_aside(lookup: Lookup, defence: str) -> None:
    """I-4: without the rows that know the first, one id stands for two requests from here on."""
    user = await lookup.user()
    head = header(user.user)
    await lookup.room.send(lookup.routes.requested, [requested(head, documents(1), lookup.caller)])
    await lookup.handled(1)
    if defence == "off":
        for memory in ("inbox", "outcome"):  # what came, and what was answered to it
            await lookup.room.pool.execute(f"DELETE FROM {memory}")
    await lookup.room.send(lookup.routes.requested, [requested(head, [document(7, amount="99999.00")], lookup.caller)])
    await lookup.handled(2)
    amounts = [one.signed.manifest.documents[0].amount for one in lookup.resolved()]
    letters = lookup.dead_letters()
    if defence == "on":
        assert amounts == ["100.50"]
        assert [letter.startswith(Reason.ID_CONFLICT) for letter in letters] == [True]
    else:
        assert (amounts, letters) == (["100.50", "99999.00"], [])
