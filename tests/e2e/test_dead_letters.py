"""The operator's `gpki dlq`, as a process of its own against the running chain."""

import re
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from libs.contracts import topics
from libs.contracts.cloudevents import Record, encode
from libs.contracts.reasons import Reason
from libs.contracts.signing import Requested, Verified
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from services.igfmas.desk import Pressed
from services.igfmas.documents import manifest_of
from tests.support import command_line
from tests.support.chain import Client, Officers, Request, papers, signed_manifest
from tests.support.journal import Raw, dead_letters, ends_of, history
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

ATTACK = "\x1b]0;ours\x07\x9b2J\rok"
"""Has a terminal change its title, clear its screen and write over the line that it is in."""


async def gpki(stack: Stack, *arguments: str) -> tuple[int, str, str]:
    """Exit code, what it printed, what it complained of."""
    return await command_line.gpki(stack, "dlq", *arguments)


async def publish(stack: Stack, record: Record) -> None:
    producer = AIOKafkaProducer(**stack.kafka.options())
    await producer.start()
    try:
        await producer.send_and_wait(record.topic, value=record.value, key=record.key, headers=list(record.headers))
    finally:
        await producer.stop()


async def letter_of(stack: Stack, topic: Topic, key: object, service: str) -> str:
    """The name of the letter that this service made of the record under this key."""

    async def found() -> "Raw | None":
        letters = [each for each in await history(stack, topic.dead_letter) if each.key == str(key).encode()]
        return next((each for each in letters if ("x-dead-letter-service", service.encode()) in each.headers), None)

    letter: Raw = await eventually(found, f"a letter of {service}", every=0.2)
    return f"{topic.name}:{letter.offset}"


async def another_s_verified(client: Client, officers: Officers, request: Request) -> Record:
    """A `verified` for a document of this request, with another request's header: no stage can decide about it."""
    other = await client.press(officers.maker, papers(1))
    since = await ends_of(client.stack, topics.VERIFIED)
    await other.sign()
    (record,) = [
        record
        for record in await history(client.stack, topics.VERIFIED, since=since)
        if record.key == other.papers[0].entry.id.encode()
    ]
    event = Verified.model_validate_json(record.value or b"")
    forged = event.model_copy(update={"request_id": request.id, "entry": request.papers[0].entry})
    return encode(topics.VERIFIED, forged, source="crl_verifier", time=utc_now())


async def test_a_letter_that_is_discarded_ends_its_document_and_the_request_is_accounted_for(
    client: Client, officers: Officers
) -> None:
    """I-31: rejected: poison, once, and what has ended stays ended."""
    request = await client.press(officers.maker, papers(2))
    code = await request.otp()
    spoilt, good = (paper.entry.id for paper in request.papers)
    await publish(client.stack, await another_s_verified(client, officers, request))
    letter = await letter_of(client.stack, topics.VERIFIED, spoilt, "posting")

    status, told, _ = await gpki(client.stack, "list")
    assert status == 0
    assert f"open       {letter}\n    posting: the header is not of this request" in told
    _, told, _ = await command_line.gpki(client.stack, "trace", str(request.id))
    assert f"dead letter {letter}, open: posting: the header is not of this request" in told
    assert told.splitlines()[-1].startswith("Open dead letters of it: 1.")
    status, told, _ = await gpki(client.stack, "show", letter)
    assert status == 0
    assert "because    the header is not of this request" in told
    assert re.search(rf"^from       {topics.VERIFIED.name}/\d/\d+, taken 20\d\d-.*\+00:00$", told, re.MULTILINE)
    status, told, _ = await gpki(client.stack, "discard", letter, "--reason", "ujian")
    assert (status, told.count(f"request {request.id}: {spoilt} ends as rejected: poison")) == (0, 1)
    status, _, why = await gpki(client.stack, "discard", letter, "--reason", "again")
    assert (status, "was discarded before" in why, "ujian" in why) == (1, True, True)
    status, _, why = await gpki(client.stack, "replay", letter)
    assert (status, "stays ended" in why) == (1, True)

    await request.submit(otp=code)  # a document is refused already: the gateway takes it for too late
    completed = await request.end()
    assert [one.document_id for one in completed.posted] == [good]
    assert [(one.documents, one.stage, one.reason) for one in completed.rejected] == [
        ((spoilt,), "posting", Reason.POISON)
    ]
    _, told, _ = await gpki(client.stack, "list")
    assert letter not in told
    _, told, _ = await gpki(client.stack, "list", "--all")
    assert f"discarded  {letter}" in told
    _, told, _ = await gpki(client.stack, "show", letter)
    assert told.count("ujian") == 1
    _, told, _ = await command_line.gpki(client.stack, "trace", str(request.id))
    assert f"dead letter {letter}, discarded: posting" in told
    assert "\nCompleted at " in told


async def test_a_letter_that_is_replayed_goes_on_where_it_stopped_and_twice_is_once(client: Client) -> None:
    """I-31: the bytes and headers as they came."""
    officer = await client.enrol(algorithm="p-256")
    sheets, name = papers(1), uuid4().hex
    manifest = manifest_of(
        tuple(sheet.entry for sheet in sheets), request=name, user=officer.user, office=officer.office, action="sah"
    )
    signed = signed_manifest(client.caller, manifest)
    event = Requested.model_validate(signed.model_dump())
    seen = client.chain.observation.expect(manifest.header.request_id, "sah", manifest.documents)
    request = Request(client, officer, sheets, manifest, Pressed(seen, officer.user, event.commitment.root, manifest))
    record = encode(topics.REQUESTED, event, source="igfmas", time=utc_now())
    said = {"topic": topics.REQUESTED.name, "partition": "0", "offset": "0", "service": "medium_lookup", "reason": "x"}
    buried = tuple((f"x-dead-letter-{name}", text.encode()) for name, text in said.items())
    await publish(
        client.stack, Record(topics.REQUESTED.dead_letter, record.key, record.value, (*record.headers, *buried))
    )
    letter = await letter_of(client.stack, topics.REQUESTED, event.key, "medium_lookup")

    for _ in range(2):
        status, told, _ = await gpki(client.stack, "replay", letter)
        assert (status, told) == (0, f"{letter} is on {topics.REQUESTED.name} again\n")
    assert len((await request.sign()).posted) == 1
    assert len(client.stack.mailbox(officer.email)) == 1


async def test_what_cannot_be_read_is_ended_when_the_operator_says_whose_it_is(
    client: Client, officers: Officers
) -> None:
    request = await client.press(officers.checker, papers(1))
    await request.otp()
    document = request.papers[0].entry.id
    await publish(client.stack, Record(topics.SIGNED.name, document.encode(), b"\xff\x1b[2J", (("ce_id", b"\xff"),)))
    assert len(await dead_letters(client.stack, topics.SIGNED, document, count=1)) == 1
    letter = await letter_of(client.stack, topics.SIGNED, document, "crl_verifier")
    await publish(client.stack, Record(topics.PROGRESSED.name, document.encode(), b"\xff", (("ce_id", b"\xff"),)))
    of_timeline = await letter_of(client.stack, topics.PROGRESSED, document, "gateway")

    status, told, _ = await gpki(client.stack, "show", letter)
    assert status == 0
    assert "\x1b" not in told
    status, _, why = await gpki(client.stack, "discard", letter, "--reason", "ujian")
    assert (status, "give --request" in why) == (1, True)
    assert request.seen.ended is None
    status, told, _ = await gpki(client.stack, "discard", of_timeline, "--reason", "ujian")
    assert (status, "nothing waited for it" in told) == (0, True)
    status, _, _ = await gpki(client.stack, "discard", letter, "--reason", "ujian", "--request", str(request.id))
    assert status == 0
    assert {one.reason for one in (await request.end()).rejected} == {Reason.POISON}


async def test_no_header_of_a_letter_moves_the_operator_s_terminal(client: Client) -> None:
    """Whoever may write a topic of dead letters says in its headers what he wants."""
    said = dict.fromkeys(("topic", "partition", "offset", "service", "reason", "appended-at"), ATTACK)
    headers = [(ATTACK, b"own"), *((f"x-dead-letter-{name}", text.encode()) for name, text in said.items())]
    key = uuid4().hex
    await publish(client.stack, Record(topics.SIGNED.dead_letter, key.encode(), b"{}", tuple(headers)))
    letter = await letter_of(client.stack, topics.SIGNED, key, ATTACK)
    printed = [(await gpki(client.stack, command, *name))[1] for command, name in (("list", ()), ("show", (letter,)))]
    for deed in ("discard", "discard"):  # the second tells what the first one's record says
        printed += (await gpki(client.stack, deed, letter, "--reason", ATTACK))[1:]
    printed += [(await gpki(client.stack, "show", letter))[1], (await gpki(client.stack, "list", "--all"))[1]]
    assert sum(r"\x1b]0;ours\x07\x9b2J\rok" in text for text in printed) == 5, "it is shown, as what it is"
    assert [text for text in printed if set(text) & set("\x1b\x07\x9b\r")] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "gpki.signing.signed.v1"), "is no letter"),
        (("show", "nonsense:1"), "is no letter"),
        (("show", "gpki.signing.signed.v1:99999999"), "there is no letter"),
        (("replay", "gpki.signing.signed.v1:-1"), "is no letter"),
    ],
)
async def test_a_name_that_is_no_letter_is_told_with_what_to_do(
    client: Client, arguments: tuple[str, ...], said: str
) -> None:
    status, printed, why = await gpki(client.stack, *arguments)
    assert (status, printed) == (1, "")
    assert said in why
    assert "`dlq list" in why


async def test_a_broker_that_is_away_is_told_in_a_sentence(client: Client) -> None:
    status, printed, why = await gpki(client.stack, "list", "--kafka", "127.0.0.1:1")
    assert (status, printed) == (1, "")
    assert why.splitlines()[-1].startswith("error: Kafka could not be asked")
    assert "Traceback" not in why
