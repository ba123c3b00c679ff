"""What the SDK, and the services beside it, believe of Kafka: a record of `completed` or `keys`, as whoever writes the
topic could send it (0, 1), and as posting or the certificate authority could sign it (2, 3).

Header lines (`name: value`, a signature in hex; without the colon the value is null), an empty line, the key's line,
the value.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from random import Random
from typing import TypeAlias
from uuid import UUID

from aiokafka import ConsumerRecord
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from libs.bus.delivery import record_of
from libs.bus.producers import KEY_PUBLISHER, Producers
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import Record, encode
from libs.contracts.event_signature import HEADER, with_signature
from libs.contracts.signing import Completed, PostedDocument
from libs.contracts.state import Key
from libs.contracts.topics import Topic
from libs.crypto.pki import ServicePurpose, build_service, distinguished_name
from libs.crypto.public_keys import public_key_id
from libs.gpki_client.answers import Completed as TheirCompleted
from libs.gpki_client.answers import parsed, read
from libs.gpki_client.errors import AnswerError, ForgedEventError
from libs.gpki_client.kafka import event_record
from libs.gpki_client.producers import ProducerKeys
from libs.runtime.kafka_access import KafkaAccess
from tests.fuzz.mutating import mutate_bytes, mutate_json
from tests.fuzz.parsers.authority import der, fixed_signer, tree
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

Raw: TypeAlias = "ConsumerRecord[bytes, bytes]"

_PRIVATE = {KEY_PUBLISHER: fixed_signer(6), "posting": fixed_signer(7)}
_WAYS = {
    b"\0": (topics.COMPLETED, None),
    b"\1": (topics.KEYS, None),
    b"\2": (topics.COMPLETED, "posting"),
    b"\3": (topics.KEYS, KEY_PUBLISHER),
}


def accepts(data: bytes) -> bool:
    """Whether it is believed, by both or by neither; and nobody's word is, whom nobody's key stands for."""
    topic, signer = _WAYS.get(data[:1], _WAYS[b"\0"])
    raw = _raw(topic, data[1:], signer)
    theirs, ours = _readers([raw] if topic is topics.KEYS else [])
    if topic is topics.KEYS:
        believed = {key_id: known.version for key_id, known in ours._known.items()}
        fresh = believed.items() - {_key_id(name): 1 for name in _PRIVATE}.items()
        if signer is None:
            assert believed == {key_id: known.version for key_id, known in theirs._known.items()}
            assert not fresh or raw.value in _genuine()
        return bool(fresh)
    try:
        theirs.check(event_record(raw))
        why = None
    except ForgedEventError as error:
        why = str(error)
    assert (why is None) == (ours.judge(topic, record_of(raw), EPOCH) is None), why
    if why is not None:
        return False
    try:
        read(TheirCompleted, parsed(raw.value or b"", "a record of completed"))
    except AnswerError:
        return False
    return True


@cache
def _genuine() -> set[bytes]:
    """What the authority has said of keys in the corpus."""
    return {file.read_bytes().partition(b"\n\n")[2].partition(b"\n")[2] for file in TARGET.corpus.glob("seed-*")}


def _readers(more: Sequence[Raw]) -> tuple[ProducerKeys, Producers]:
    return _reading(more) if more else _known()


@cache
def _known() -> tuple[ProducerKeys, Producers]:
    return _reading([])


def _reading(more: Sequence[Raw]) -> tuple[ProducerKeys, Producers]:
    """Who has read the keys' topic, with these records at its end."""
    root = der(tree().root)
    theirs, ours = ProducerKeys(root), Producers(KafkaAccess("nowhere:1", "nobody", SecretStr("x")), root)
    records = [*_keys(), *more]
    theirs.learn(map(event_record, records))
    ours.learn(list(map(record_of, records)))
    return theirs, ours


@cache
def _keys() -> tuple[Raw, ...]:
    return tuple(_came(_signed(topics.KEYS, _state(name), KEY_PUBLISHER)) for name in _PRIVATE)


def _key_id(name: str) -> str:
    return public_key_id(_PRIVATE[name].public_key())


@cache
def _state(name: str, version: int = 1) -> Key:
    made = build_service(
        tree().root, _PRIVATE[name].public_key(), purpose=ServicePurpose.PRODUCER, name=distinguished_name(name),
        serial=tree().serial(), validity=tree().validity(),
    )  # fmt: skip
    chain = (made.public_bytes(Encoding.DER),)
    return Key(key_id=_key_id(name), version=version, purpose="producer", owner=name, chain=chain, retired_at=None)


def _signed(topic: Topic, event: Event, by: str) -> Record:
    return with_signature(encode(topic, event, source=by, time=EPOCH), _key_id(by), _PRIVATE[by].sign)


def _raw(topic: Topic, data: bytes, signer: str | None) -> Raw:
    head, _, rest = data.partition(b"\n\n")
    key, _, value = rest.partition(b"\n")
    headers = tuple(map(_header, head.split(b"\n")))
    if signer is None:
        return _came(Record(topic.name, key, value, headers))  # type: ignore[arg-type]  # null, as a broker has it
    unsigned = tuple((name, v or b"") for name, v in headers if name != HEADER)
    return _came(with_signature(Record(topic.name, key, value, unsigned), _key_id(signer), _PRIVATE[signer].sign))


def _header(line: bytes) -> tuple[str, bytes | None]:
    raw, colon, value = line.partition(b": ")
    name = raw.decode("utf-8", "backslashreplace")
    if name == HEADER:
        with suppress(ValueError):
            value = bytes.fromhex(value.decode("latin-1"))
    return name, value if colon else None


def _came(record: Record) -> Raw:
    stamp = round(EPOCH.timestamp() * 1000)
    return ConsumerRecord(
        record.topic, 0, 7, stamp, 1, record.key, record.value, None, 0, len(record.value), record.headers
    )


def _mutate(data: bytes, random: Random) -> bytes:
    way, (head, _, rest) = data[:1], data[1:].partition(b"\n\n")
    key, _, value = rest.partition(b"\n")
    match random.randrange(6):
        case 0:
            lines = head.split(b"\n")
            at = random.randrange(len(lines))
            name = lines[at].partition(b": ")[0]
            lines[at : at + 1] = random.choice(([], [name], [name + b": "], [lines[at]] * 2, [random.choice(lines)]))
            head = b"\n".join(lines)
        case 1:
            head = mutate_bytes(head, random)
        case 2:
            key = mutate_bytes(key, random)
        case _:
            value = mutate_json(value, random)
    return way + head + b"\n\n" + key + b"\n" + value


def seeds() -> Iterable[bytes]:
    """An end, and a key of posting's, by each way."""
    one = PostedDocument(document_id="BB1", record_id=UUID(int=2))
    end = Completed(request_id=UUID(int=1), header=None, posted=(one,), rejected=(), completed_at=EPOCH)
    newer = _state("posting").model_copy(update={"version": 2, "retired_at": EPOCH - timedelta(hours=1)})
    for way, (topic, signer) in _WAYS.items():
        event: Event = end if topic is topics.COMPLETED else newer
        record = _signed(topic, event, signer or ("posting" if topic is topics.COMPLETED else KEY_PUBLISHER))
        told = ((name, v.hex().encode() if name == HEADER else v) for name, v in record.headers)
        head = b"\n".join(name.encode() + b": " + v for name, v in told)
        yield way + head + b"\n\n" + (record.key or b"") + b"\n" + record.value


TARGET = Target("producers", accepts, seeds, _mutate)
