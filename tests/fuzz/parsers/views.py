"""What is read of Kafka by who acts on none of it: monitor's and its witness's views, the audit's, the operator's.

A topic's name on the first line, or a dead letter's; then header lines (`name: value`), an empty line, the key's line,
the value.
"""

import json
from collections.abc import Iterable
from functools import cache
from random import Random
from typing import TypeAlias
from uuid import UUID

from aiokafka import ConsumerRecord, TopicPartition

from libs.bus.dead_letter import PREFIX
from libs.contracts import topics
from libs.contracts.topics import TOPICS
from services.monitor import facts, witness_reading
from services.monitor.facts import Batch
from services.operations import audit
from services.operations.auditing import Topics
from services.operations.discarding import ENDS, RequestUnknownError, concerns, rejection
from services.operations.letters import letters
from services.operations.reading import seen
from services.operations.terminal import printable, shown
from tests.fuzz.mutating import mutate_bytes, mutate_json
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

Raw: TypeAlias = "ConsumerRecord[bytes, bytes]"

_REQUEST = UUID("6f1b4f0e-5f0c-5e3b-9a35-0f3c6c1f7a11")


def accepts(data: bytes) -> bool:
    """Whether any view has something of it; none raises, and what is shown has no control character."""
    first, _, rest = data.partition(b"\n")
    name, letter, _ = first.decode("utf-8", "replace").partition(".dlq")
    topic = TOPICS.get(name, topics.REJECTED)
    raw = _raw(topic.name + letter, rest)
    if letter:
        return _buried(topic.name, raw)
    found = [seen(topic, raw).event is not None]
    if topic.name in facts.READ:
        batch = Batch()
        batch.take({TopicPartition(topic.name, 0): [raw]})
        assert batch.unread + len(batch) >= 1 or not _documents(raw)
        found.append(len(batch) > 0)
    if topic in audit.READ:
        told = Topics(at=EPOCH)
        audit._take(told, raw)
        found.append(bool(told.signed or told.token_signed or told.posted or told.rejected or told.notes))
    if topic is topics.LOG_CHECKPOINT:
        found.append(witness_reading._checkpoint(raw) is not None)
    for text in (printable(raw.value or b""), shown((raw.value or b"").decode("utf-8", "replace"))):
        assert text.isascii()
        assert text.isprintable()
    return any(found)


def _buried(topic: str, raw: Raw) -> bool:
    """A letter, behind one that is whole: it may hide no other."""
    earlier = ConsumerRecord(topic, 0, 1, _stamp(), 1, None, b"{}", None, 0, 2, ())
    found = letters(topic, [earlier, raw])
    assert found[0].number == 1
    told = []
    for letter in found:
        concerns(letter, _REQUEST, {"BB1"})
        try:
            ended = rejection(letter, _REQUEST)
            told.append(ended is not None or letter.resolutions != ())
            assert ended is None or ended.stage == letter.service
            rejection(letter)
        except RequestUnknownError:
            pass
        assert shown(f"{letter.reason} {letter.origin} {letter.taken_at} {letter.service}").isprintable()
    return any(told)


def _documents(raw: Raw) -> bool:
    """Whether it names any: a rejection of no documents is nothing to the monitor."""
    try:
        return json.loads(raw.value or b"").get("documents") != []
    except (ValueError, AttributeError, RecursionError):
        return True


def _stamp() -> int:
    return round(EPOCH.timestamp() * 1000)


def _raw(topic: str, data: bytes) -> Raw:
    head, _, rest = data.partition(b"\n\n")
    key, _, value = rest.partition(b"\n")
    pairs = [line.partition(b": ") for line in head.split(b"\n")]
    headers = tuple((name.decode("utf-8", "backslashreplace"), v if colon else None) for name, colon, v in pairs)
    return ConsumerRecord(topic, 0, 7, _stamp(), 1, key, value, None, 0, len(value), headers)


def _mutate(data: bytes, random: Random) -> bytes:
    first, _, rest = data.partition(b"\n")
    head, _, rest = rest.partition(b"\n\n")
    key, _, value = rest.partition(b"\n")
    match random.randrange(8):
        case 0:
            first = random.choice(_names())
        case 1:
            head = mutate_bytes(head, random)
        case 2:
            name, _, _ = random.choice(head.split(b"\n")).partition(b": ")
            odd = random.choice((b"", b"9" * 5000, b"\xff", "٣".encode(), b"-1", b"posting", b"discarded"))
            head += b"\n" + name + b": " + odd
        case 3:
            key = mutate_bytes(key, random)
        case _:
            value = mutate_json(value, random)
    return first + b"\n" + head + b"\n\n" + key + b"\n" + value


@cache
def _names() -> list[bytes]:
    read = {*facts.READ, *(topic.name for topic in audit.READ), topics.LOG_CHECKPOINT.name}
    return [name.encode() for name in sorted(read)] + [f"{name}.dlq".encode() for name in sorted(ENDS)]


def seeds() -> Iterable[bytes]:
    """An event of each topic that is looked at, a letter of each that a discarding ends, and what became of one."""
    from tests.fuzz.parsers.samples import sample  # noqa: PLC0415 (hypothesis: not in the instrumented process)

    for name in _names():
        topic = TOPICS[name.decode().removesuffix(".dlq")]
        stage = min(ENDS.get(topic.name, {""}))
        said = {"service": stage, "reason": "why", "topic": topic.name, "partition": "0", "offset": "7"}
        head = [f"{PREFIX}{what}: {text}" for what, text in said.items()]
        value = json.dumps(sample(topic) | {"request_id": str(_REQUEST)}).encode()
        yield b"%b\n%b\n\nBB1\n%b" % (name, "\n".join(head).encode(), value)
    said = {"resolves": "1", "resolution": "discarded", "resolved-by": "operator", "resolution-reason": "why"}
    head = [f"{PREFIX}{what}: {text}" for what, text in said.items()]
    yield b"%b.dlq\n%b\n\n\n" % (topics.REJECTED.name.encode(), "\n".join(head).encode())


TARGET = Target("views", accepts, seeds, _mutate, max_size=32 * 1024)
