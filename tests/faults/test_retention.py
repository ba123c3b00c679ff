"""Retention passes a service that is stopped: it stands, its operator publishes the gap again, and nothing is lost."""

import re
import signal
from datetime import UTC, timedelta

import pytest

from deploy.native import lifecycle
from libs.contracts import topics
from libs.gpki_client import Document, Manifest
from libs.runtime.clock import utc_now
from services.igfmas.enrolment import Officer
from services.igfmas.keys import CALLER, SYSTEM
from tests.faults.conftest import PUKAL, Pukal
from tests.support.chain import Client, Officers, papers
from tests.support.faults import all_read
from tests.support.journal import ends_of, header, history, of_request
from tests.support.retention import halted, nobody_stands_still_afterwards, pass_by, put_right, republish, stop
from tests.support.waiting import eventually

__all__ = ["nobody_stands_still_afterwards"]

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


@pytest.mark.parametrize("service", ["otp_dispatch", "hsm_signer", "crl_verifier", "posting"])
async def test_what_a_stopped_service_missed_is_published_again_and_happens_once(
    client: Client, pukal: Pukal, service: str
) -> None:
    """I-9, I-33."""
    stack = client.stack
    await all_read(stack)
    await stop(stack, service)
    pukal.begin()
    deleted = await pass_by(client, service, least=1 if service in {"otp_dispatch", "hsm_signer"} else 50)
    await halted(stack, service)
    assert pukal.journey is not None
    assert not pukal.journey.done()

    status, told, why = await republish(stack, "gap", service)
    assert (status, why, told.splitlines()[-1:]) == (
        0,
        "",
        ["Nothing was done. --yes publishes them, and moves the group on."],
    )
    assert sum(map(int, re.findall(r": (\d+) deleted unread", told))) >= deleted
    status, _, why = await republish(stack, "gap", service, "--yes")
    assert (status, f"error: {service} runs: stop it on every host first" in why) == (1, True), why

    told = await put_right(stack, service)
    assert f"{service} goes on from where its topics begin: start it." in told
    await pukal.happened_once()
    status, told, _ = await republish(stack, "gap", service)
    assert (status, told) == (0, f"There is no gap: what {service} has yet to read is on its topics.\n")


async def test_a_stopped_monitor_stands_before_the_gap_and_knows_all_of_it_once_it_is_published_again(
    client: Client, pukal: Pukal
) -> None:
    """I-9, I-33, I-35: nobody can vouch for what it has not read, and it keeps no inbox that says what that was."""
    stack = client.stack
    await all_read(stack)
    await stop(stack, "monitor")
    pukal.begin()
    await pukal.ends()
    assert await pass_by(client, "monitor", least=2 * PUKAL) >= 2 * PUKAL
    await halted(stack, "monitor")
    known = "SELECT count(*) FROM monitor.document WHERE request_id = $1 AND signed_at < now() AND posted_at < now()"
    assert await pukal.count(known) == 0, "it reads nothing behind the gap"
    status, told, _ = await republish(stack, "gap", "monitor")
    # Without an inbox it cannot say what it has read: all that was ever recorded for it is published again.
    assert status == 0, told
    assert max(map(int, re.findall(r"(\d+) by posting", told))) >= PUKAL, told

    await put_right(stack, "monitor")
    await pukal.happened_once()
    assert await pukal.count(known) == PUKAL
    assert await pukal.count("SELECT count(*) FROM monitor.document WHERE request_id = $1 AND told_at IS NOT NULL") == 0


async def test_a_stopped_gateway_tells_what_it_missed(client: Client, officers: Officers) -> None:
    """I-9, I-33: its timeline is a consumer like any other."""
    request = await client.press(officers.maker, papers(60))
    otp = await request.otp()
    client.stack.kill("hsm_signer", signal.SIGSTOP)
    try:
        await request.authorise(otp=otp)
        await stop(client.stack, "gateway")
    finally:
        client.stack.kill("hsm_signer", signal.SIGCONT)
    await client.chain.wait(lambda: request.seen.ended is not None, "the end", seconds=60)
    await pass_by(client, "gateway", least=len(("signed", "verified", "posted")))  # one `progressed` of each, at least
    await halted(client.stack, "gateway")
    await put_right(client.stack, "gateway")
    await all_read(client.stack)
    status = await client.gateway.status(request.id, user=officers.maker.user)
    assert (status.state, status.counts.posted) == ("completed", 60)


def called_for(officer: Officer) -> Manifest:
    """What a caller asks of this officer over HTTP."""
    (sheet,) = papers(1)
    named = {"request": sheet.entry.id, "caller": CALLER, "system": SYSTEM, "user": officer.user}
    return Manifest.of([Document(**sheet.entry.texts)], **named, office=officer.office, action="sah")


async def test_what_outsiders_wrote_is_sent_again_by_its_senders_and_what_callers_asked_for_is_in_our_ledger(
    client: Client, officers: Officers
) -> None:
    """I-33."""
    stack = client.stack
    await all_read(stack)
    await stop(stack, "medium_lookup")
    sheets = papers(1)
    lost = await client.press(officers.maker, sheets, request=sheets[0].entry.id)
    asked = await client.gateway.start(called_for(officers.checker))
    await pass_by(client, "medium_lookup", frozenset({topics.REQUESTED.name}), least=2)
    await halted(stack, "medium_lookup")
    await stop(stack, "medium_lookup")

    status, told, why = await republish(stack, "gap", "medium_lookup", "--yes")
    assert (status, "its senders must send it again" in told) == (1, True)
    assert "--outsiders-send-again" in why
    status, told, why = await republish(stack, "gap", "medium_lookup", "--yes", "--outsiders-send-again")
    assert (status, "recorded: 1 by gateway" in told) == (0, True), why
    await lifecycle.restart(stack.layout, "medium_lookup")

    async def resolved() -> bool:
        return bool(await of_request(stack, topics.MEDIUM_RESOLVED, asked.request_id))

    await eventually(resolved, "what was asked for over HTTP goes on", every=0.2)
    assert await of_request(stack, topics.MEDIUM_RESOLVED, lost.id) == []
    again = await client.press(officers.maker, sheets, request=sheets[0].entry.id)
    assert again.id == lost.id
    assert len((await again.sign()).posted) == 1


async def test_a_span_is_published_again_under_the_same_ids_for_who_reads_from_outside(
    client: Client, officers: Officers
) -> None:
    """The ledgers keep what a log that was deleted had."""
    began = utc_now().astimezone(UTC) - timedelta(seconds=1)
    request = await client.press(officers.maker, papers(1))
    await request.sign()
    (first,) = await of_request(client.stack, topics.COMPLETED, request.id)
    since = f"--since={began:%Y-%m-%dT%H:%M:%S}"

    ends = await ends_of(client.stack, topics.COMPLETED)
    status, told, _ = await republish(client.stack, "span", topics.COMPLETED.name, since)
    assert (status, "by posting" in told) == (0, True)
    assert await history(client.stack, topics.COMPLETED, since=ends) == []
    status, told, why = await republish(client.stack, "span", topics.COMPLETED.name, since, "--yes")
    assert status == 0, why
    again = [one for one in await history(client.stack, topics.COMPLETED, since=ends) if one.key == first.key]
    assert [(header(one, "ce_id"), one.value) for one in again] == [(header(first, "ce_id"), first.value)]
    await all_read(client.stack)
    assert len(request.seen.completed) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gap", "nobody"), "no service is named nobody"),
        (("span", "nothing", "--since=2026-01-01"), "no topic is named nothing"),
        (("span", topics.AUTHORISATION_SUBMITTED.name, "--since=2026-01-01"), "a sealed PIN is never published again"),
    ],
)
async def test_what_cannot_be_published_again_is_told(client: Client, arguments: tuple[str, ...], said: str) -> None:
    status, printed, why = await republish(client.stack, *arguments)
    assert (status, printed) == (1, "")
    assert said in why
