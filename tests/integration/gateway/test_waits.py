"""What a request waits for is told to its officer: by the status while it may wait, by the stream when it begins."""

from datetime import timedelta

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.texts import LANGUAGES, Language, waiting_text
from libs.contracts.waiting import Waiting, WaitsFor
from libs.runtime.clock import utc_now
from services.gateway.schemas import Explanation, SigningStatus, Wait
from tests.integration.gateway.conftest import Door
from tests.integration.gateway.streams import stream
from tests.unit.gateway.histories import rejected

pytestmark = pytest.mark.stack


def said(why: str, language: Language) -> tuple[str, str, str]:
    found = waiting_text(why, language)
    assert found is not None
    return found.title, found.detail, found.next_step


def shown(explanation: Explanation | None) -> tuple[str, str, str]:
    assert explanation is not None
    return explanation.title, explanation.detail, explanation.next_step


async def test_a_wait_for_the_hsm_is_told_in_both_languages_by_status_and_stream_until_it_is_over(door: Door) -> None:
    event = await door.awaiting()
    head = event.signed.manifest.header
    waiting = Waiting(
        request_id=event.request_id,
        documents=None,
        stage="hsm_signer",
        why=WaitsFor.HSM,
        next_look=utc_now() + timedelta(seconds=5),
    )
    await door.room.send(door.routes.waiting, [waiting, waiting])
    await door.until(head, lambda status: status.waits, "the wait is told")
    for language in LANGUAGES:
        answer = await door.get(
            f"/v1/signings/{event.request_id}", door.token(head.user), **{"Accept-Language": language}
        )
        status = SigningStatus.model_validate_json(answer.content)
        (wait,) = status.waits
        assert (wait.stage, wait.why, wait.next_look) == ("hsm_signer", WaitsFor.HSM, waiting.next_look)
        assert shown(wait.explanation) == said(WaitsFor.HSM, language)
        async with stream(door, event.request_id, head.user, language=language) as opened:
            rows = {told.kind: told.moment.data for told in await opened.read(status.seq)}
        row = rows["waiting"]
        assert isinstance(row, Wait)
        assert shown(row.explanation) == said(WaitsFor.HSM, language)

    await door.room.send(door.routes.rejected, [rejected(head, None, Reason.AUTHORISATION_EXPIRED, stage="hsm_signer")])
    await door.until(head, lambda status: status.state == "ending" and not status.waits, "the wait is over")
