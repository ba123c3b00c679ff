"""What is reserved stays so, whatever the HSM's answer was: a signature may exist of which nobody heard."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.hsm.errors import HsmUnavailable
from libs.hsm.hsm import Hsm
from services.hsm_signer.custody import Custody, OpenedKey
from tests.integration.hsm_signer.conftest import pki
from tests.support.custody import Cabinet
from tests.support.custody_signer import open_cabinet
from tests.support.pki import Pki
from tests.support.requests import documents, header, medium_resolved
from tests.support.stack import Stack

__all__ = ["pki"]

PIN, COUNT = "Kn4ri-betul-kuda", 3

RESERVED = """
select attempt, reserved_at, document.state from document join request using (request_id)
where request_id = $1 order by index
"""


@pytest_asyncio.fixture(loop_scope="session")
async def cabinet(stack: Stack, hsm: Hsm, pki: Pki) -> AsyncIterator[Cabinet]:
    async with open_cabinet(stack, hsm, pki) as opened:
        yield opened


async def test_an_answer_of_the_hsm_that_was_lost_releases_no_document_and_no_code(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-13: it signed, and nobody heard: the documents stay reserved for this attempt, and another one is refused."""
    officer = await cabinet.enrol(PIN)
    event = medium_resolved(header(cabinet.users[officer].user, COUNT), documents(COUNT), cabinet.caller)
    request = event.model_copy(update={"credential_id": officer})
    sign = Custody.sign
    seen: list[list[tuple[object, ...]]] = []

    async def lost_once(self: Custody, key: OpenedKey, messages: list[bytes]) -> list[bytes]:
        made = await sign(self, key, messages)
        rows = await cabinet.room.pool.fetch(RESERVED, request.request_id)
        seen.append([tuple(row) for row in rows])
        if len(seen) == 1:
            raise HsmUnavailable("the answer was lost")
        return made

    monkeypatch.setattr(Custody, "sign", lost_once)
    first, second = [await cabinet.submission(request, pin=PIN) for _ in range(2)]
    await cabinet.room.send(cabinet.submitted, [first, second])
    assert await cabinet.outcome(request) in {"signed", Reason.OTP_USED}
    await cabinet.room.all_committed(cabinet.submitted, 2)
    await cabinet.tap.read()

    assert [state for _, _, state in seen[0]] == ["reserved"] * COUNT, "before the act"
    assert seen == [seen[0]] * 2, "and not released between: as they were, for the same attempt, since the same moment"
    assert sorted(one.index for one in cabinet.signed_of(request.request_id)) == list(range(COUNT))
    assert cabinet.answered(request) == "signed"
    refused = cabinet.tap.of(topics.AUTHORISATION_FAILED, request.request_id)
    assert len(refused) == 1, "the same code authorises nothing a second time"
    right = "select count(*) from attempt where request_id = $1 and state = 'right'"
    assert await cabinet.room.count(right, request.request_id) == 1
