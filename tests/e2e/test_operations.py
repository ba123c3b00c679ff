"""The operator's `gpki trace`, `gpki topics` and `gpki doctor`, as processes of their own against the running chain."""

import base64
import re
from uuid import uuid4

import pytest

from libs.contracts import topics
from libs.contracts.signing import OtpDispatched
from tests.support.chain import Client, Officers, papers
from tests.support.command_line import gpki
from tests.support.faults import all_read
from tests.support.journal import of_request

pytestmark = pytest.mark.stack


async def test_a_pukal_is_traced_from_requested_to_completed_in_the_broker_s_order(
    client: Client, officers: Officers
) -> None:
    request = await client.press(officers.maker, papers(60))
    code = await request.otp()
    await request.authorise(otp=code)
    await request.end()

    status, told, why = await gpki(client.stack, "trace", str(request.id))
    assert (status, why) == (0, "")
    lines = told.splitlines()
    assert [line[:24] for line in lines[:-1]] == sorted(line[:24] for line in lines[:-1])
    assert re.search(r"\+0 ms  outside +requested +sah, 60 documents$", lines[0])
    events = [line[44:].split()[1] for line in lines[:-1]]
    assert events[:4] == ["requested", "medium-resolved", "otp-dispatched", "authorisation-submitted-bulk"]
    assert events[-1] == "completed"
    for stage, event in (("hsm_signer", "signed"), ("crl_verifier", "verified"), ("posting", "posted")):
        (line,) = [line for line in lines if re.search(rf"ms  {stage} +{event} ", line)]
        assert re.search(r"\+\d+\.\.\d+ ms .* 60 documents", line)
    assert re.fullmatch(r"Completed at .*Z, .* after it began: 60 posted, 0 rejected\.", lines[-1])

    (dispatched,) = await of_request(client.stack, topics.OTP_DISPATCHED, request.id)
    sent = OtpDispatched.model_validate_json(dispatched.value or b"")
    assert sent.reference_code in told
    for secret in (code, officers.maker.pin, officers.maker.email, base64.b64encode(sent.challenge).decode()[:40]):
        assert secret not in told

    status, told, _ = await gpki(client.stack, "trace", str(request.id), "--every")
    assert status == 0
    for paper in request.papers:
        assert told.count(f"  {paper.entry.id};") + told.count(f"  {paper.entry.id}\n") == 3


async def test_a_request_whose_officer_enters_nothing_is_told_to_wait_for_the_officer(
    client: Client, officers: Officers
) -> None:
    request = await client.press(officers.maker, papers(1))
    reference = (await request.dispatched()).reference_code
    status, told, _ = await gpki(client.stack, "trace", str(request.id))
    assert status == 0
    last = told.splitlines()[-1]
    assert last.startswith("Not completed: the officer has 1 document for ")
    assert f"PIN and OTP are not entered (reference {reference}, by e-mail to p***@anm.example, good until " in last


async def test_a_request_that_nobody_knows_is_an_error(client: Client) -> None:
    unknown = uuid4()
    status, printed, why = await gpki(client.stack, "trace", str(unknown))
    assert (status, printed) == (1, "")
    assert f"error: nothing is known of request {unknown}" in why


async def test_topics_stand_as_declared_and_every_group_is_told_with_its_lag(client: Client) -> None:
    await all_read(client.stack)
    status, told, why = await gpki(client.stack, "topics")
    assert (status, why) == (0, "")
    assert "!" not in told
    for topic in topics.TOPICS.values():
        assert told.count(f"{topic.name} ") >= 1
    own = told.partition(f"{topics.SIGNED.name} ")[2].partition("\ngpki.")[0]
    groups = dict(re.findall(r"^    (\S+) +lag (\d+)$", own, re.MULTILINE))
    assert {name.partition(".")[0] for name in groups} == {"crl_verifier", "gateway"}
    assert set(groups.values()) == {"0"}
