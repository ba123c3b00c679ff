"""`python -m services.hsm_signer.restore FILE` restores custody by the order beside FILE (`gpki custody restore`).

Every replica is stopped, or waits because its database went back in time; nothing is signed meanwhile (I-51, I-52).
"""

import sys
from collections.abc import Collection, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from aiokafka.errors import CommitFailedError
from pydantic import ValidationError

from libs.bus.delivery import Judge
from libs.bus.producers import Producers
from libs.bus.reader import partitions_of
from libs.bus.security_officers import security_officers
from libs.bus.signing import EventSigner, Sign
from libs.bus.trust import read_service_root
from libs.contracts import topics
from libs.contracts.custody import COUNTED, ORDER_SUFFIX, SignedRestoreOrder
from libs.contracts.topics import Topic
from libs.crypto.service_certificates import ServiceIdentity
from libs.hsm.hsm import Hsm
from libs.hsm.settings import open_hsm
from libs.runtime.health import Health
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.process import run
from libs.runtime.settings import ConfigurationError
from libs.storage.pool import Pool
from libs.storage.service import service_database
from services.hsm_signer import restore_order, restoring
from services.hsm_signer.backup_file import BackupError, digest, opened
from services.hsm_signer.reading import topic_reader
from services.hsm_signer.replay import CannotTell, replay
from services.hsm_signer.restoring import Restored
from services.hsm_signer.settings import Settings

STATE: Final = (topics.USER, topics.CERTIFICATE, topics.KEYS)
"""Read again from their beginning: a revocation counts before the first request."""

RUNS: Final = "a replica of the signer runs: stop every one, on every host"

log = structlog.get_logger()


class NotRestored(ConfigurationError):
    """Nothing was restored; says why."""

    def __init__(self, why: str) -> None:
        super().__init__([f"not restored: {why}"])


async def restore(
    pool: Pool,
    hsm: Hsm,
    kafka: KafkaAccess,
    *,
    file: bytes,
    signed: SignedRestoreOrder,
    officers: Collection[ServiceIdentity],
    now: datetime,
    judge: Judge,
    sign: Sign,
    service: str = "hsm_signer",
    state: Sequence[Topic] = STATE,
) -> Restored:
    """Follow an order. Raises NotRestored; an order is spent once writing has begun. Raises HsmError, KafkaError."""
    try:
        backup = await opened(file, hsm)
        fault = restore_order.fault(signed, digest(file), officers, now)
        if fault is not None:
            raise NotRestored(fault)
        told = await replay(kafka, judge, backup, group=f"{service}.state", extra=state)
    except (BackupError, CannotTell) as error:
        raise NotRestored(str(error)) from None
    missing = await restoring.missing_keys(hsm, backup)
    await _read_again(kafka, f"{service}.state", state)
    async with pool.acquire() as connection, connection.transaction():
        await restoring.lock(connection)
        counted = partitions_of(COUNTED)
        async with topic_reader(kafka, f"{service}.state", COUNTED) as consumer:
            ends = await consumer.end_offsets(counted)
        if ends != {place: told.ends[place] for place in counted}:
            raise NotRestored(RUNS)
        if not await restore_order.spend(hsm, signed):
            raise NotRestored("the order was followed before")
        rejected = await restoring.put(connection, backup, told, missing, service=service, sign=sign)
        await restoring.follow(connection, signed.order)
        return await restoring.counted(connection, rejected)


async def _read_again(kafka: KafkaAccess, group: str, state: Sequence[Topic]) -> None:
    """Have the group begin at the beginning; the broker refuses while somebody is in it."""
    async with topic_reader(kafka, group, state) as consumer:
        try:
            await consumer.commit(dict(await consumer.beginning_offsets(partitions_of(state))))
        except CommitFailedError:
            raise NotRestored(RUNS) from None


def _read(file: Path) -> tuple[bytes, SignedRestoreOrder]:
    order = file.with_name(file.name + ORDER_SUFFIX)
    try:
        content = file.read_bytes()
        if not order.exists():
            raise NotRestored(f"there is no {order}: two security officers make it, each by `gpki custody approve`")
        return content, SignedRestoreOrder.model_validate_json(order.read_bytes())
    except OSError as error:
        raise NotRestored(f"{error.filename} cannot be read") from None
    except ValidationError:
        raise NotRestored(f"{file.name}{ORDER_SUFFIX} is no order") from None


async def main(settings: Settings, _health: Health) -> None:
    """Raises NotRestored, which is exit code 78."""
    if len(sys.argv) != 2:
        raise ConfigurationError(["name a file: python -m services.hsm_signer.restore FILE"])
    content, signed = _read(Path(sys.argv[1]))
    service_root = read_service_root(settings.pki_dir)
    async with (
        open_hsm(settings) as hsm,
        service_database(settings, []) as (pool, clock),
        aclosing(Producers(settings.kafka, service_root)) as producers,
    ):
        await producers.look()
        done = await restore(
            pool,
            hsm,
            settings.kafka,
            file=content,
            signed=signed,
            officers=security_officers(settings.pki_dir, service_root, clock()).values(),
            now=clock(),
            judge=producers.judge,
            sign=EventSigner(settings.producer_key.get_secret_value(), known=producers.knows),
        )
    log.warning("custody restored", order=str(signed.order.order), **vars(done))


if __name__ == "__main__":
    raise SystemExit(run(Settings, main))
