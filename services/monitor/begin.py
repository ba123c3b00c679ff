"""`python -m services.monitor.begin PROOF REASON` has a witness go on that was away for longer than `posted` is kept.

PROOF is the file that `gpki checkpoint` makes; REASON is kept for ever beside who said it. Run where monitor runs, with
its settings: nobody else has the witness's key. It refuses while nothing is missing, and every fork.
"""

import asyncio
import getpass
import sys
from pathlib import Path
from typing import Final

import structlog
from aiokafka import TopicPartition
from pydantic import ValidationError

from libs.bus.reader import reader, up_to
from libs.contracts.log import CheckpointCountersigned, CheckpointProof
from libs.crypto import notes
from libs.crypto.notes import Checkpoint, NoteError
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.process import run
from libs.runtime.settings import ConfigurationError
from libs.storage.pool import Pool
from libs.storage.service import service_database
from services.monitor import witness_store as store
from services.monitor.beginning import BeginningRefused, judged
from services.monitor.settings import Settings
from services.monitor.witness_keys import Keys
from services.monitor.witness_reading import CHECKPOINTS, COUNTERSIGNED, POSTED, missed
from services.monitor.witness_store import Beginning, State

ARGUMENTS: Final = 3

log = structlog.get_logger()


async def begin(
    *, kafka: KafkaAccess, pool: Pool, clock: Clock, keys: Keys, proof: CheckpointProof, reason: str, by: str
) -> Checkpoint:
    """Countersign the proof's checkpoint and have the witness go on from it; what was decided is kept with it.

    Raises BeginningRefused, and changes nothing then; KafkaError, or what asyncpg raises.
    """
    starts, ends, told = await _topics(kafka, keys)
    async with pool.acquire() as connection, connection.transaction():
        state = await store.state(connection, keys.log.name)
        if not missed(state, starts):
            raise BeginningRefused("nothing is missing on `posted`: the witness goes on by itself")
        upon = (0, b"") if state is None else (state.size, state.root)
        last = max(upon, told, key=lambda signed: signed[0])  # of a restored database the topic may know more
        said = judged(proof, last, keys.log, clock())
        note = notes.countersign(notes.alone(proof.note, keys.log), keys.witness, keys.private, clock())
        offsets = tuple(starts[place] for place in POSTED)
        new = State(said.size, said.root, proof.peaks, note, offsets, ends[CHECKPOINTS])
        if not await store.move(connection, keys.log.name, new, upon=upon[0]):
            raise BeginningRefused("the witness has moved on meanwhile")
        beginning = Beginning(said.size, said.root, *last, reason, by, clock())
        await store.add_beginning(connection, keys.log.name, beginning)
    return said


async def _topics(
    kafka: KafkaAccess, keys: Keys
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int], tuple[int, bytes]]:
    """Where the topics begin and end, and what of the topic of countersigned checkpoints is the farthest."""
    places = [*POSTED, CHECKPOINTS, COUNTERSIGNED]
    async with reader(kafka, places, auto_offset_reset="none") as consumer:
        starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        consumer.seek(COUNTERSIGNED, starts[COUNTERSIGNED])
        told = (0, b"")
        async for batch in up_to(consumer, {COUNTERSIGNED: ends[COUNTERSIGNED]}):
            told = max([told, *(_signed(one.value or b"", keys) for one in batch)], key=lambda signed: signed[0])
    return starts, ends, told


def _signed(value: bytes, keys: Keys) -> tuple[int, bytes]:
    """Size and root of what log and witness have both signed; of anything else, nothing."""
    try:
        note = CheckpointCountersigned.model_validate_json(value).note
        said = notes.read(note)
        both = all(notes.signed_at(note, key) is not None for key in (keys.log, keys.witness))
    except (ValidationError, NoteError):
        return 0, b""
    return (said.size, said.root) if both and said.origin == keys.log.name else (0, b"")


async def main(settings: Settings, _health: Health) -> None:
    """Raises ConfigurationError, which is exit code 78, for what is refused."""
    if len(sys.argv) != ARGUMENTS or not sys.argv[2].strip():
        raise ConfigurationError(["say which and why: python -m services.monitor.begin PROOF REASON"])
    file, reason = Path(sys.argv[1]), sys.argv[2]
    try:
        proof = CheckpointProof.model_validate_json(await asyncio.to_thread(file.read_bytes))
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            [f"{file}: not a proof that `gpki checkpoint` made ({type(error).__name__})"]
        ) from None
    try:
        async with service_database(settings, [], connections=1) as (pool, clock):
            said = await begin(
                kafka=settings.kafka,
                pool=pool,
                clock=clock,
                keys=Keys.of(settings),
                proof=proof,
                reason=reason,
                by=getpass.getuser(),
            )
    except BeginningRefused as error:
        raise ConfigurationError([str(error)]) from None
    log.warning("the witness begins anew", size=said.size, reason=reason)


if __name__ == "__main__":
    raise SystemExit(run(Settings, main))
