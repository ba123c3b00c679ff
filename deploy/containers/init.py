"""`init`, the job between infrastructure and services: roles, tables, accounts, topics, tokens, certificates."""

import asyncio
import sys
import time

from aiokafka.errors import KafkaError

from deploy.containers.layout import inside
from deploy.native import broker, database, init, principals, probes, schemas
from deploy.native.failures import StackError
from deploy.native.layout import Layout

READY_SECONDS = 120
PROBE_SECONDS = 0.5


async def initialise(layout: Layout) -> None:
    """Do what `make up` does there on the embedded stack, by the same code; repeatable. Raises StackError."""
    await database.create_roles(layout)
    await schemas.migrate_all(layout)
    await _brokers_ready(layout)
    await principals.admit(layout)
    await init.initialise(layout)


async def _brokers_ready(layout: Layout) -> None:
    """Their health checks look at a port; what follows needs each to know all the others."""
    deadline = time.monotonic() + READY_SECONDS
    for name in layout.brokers:
        while True:
            try:
                await probes.kafka(
                    broker.access(layout), layout.ports[name], host=layout.host(name), brokers=len(layout.brokers)
                )
                break
            except (OSError, KafkaError) as error:
                if time.monotonic() > deadline:
                    raise StackError(
                        f"{name} is not ready ({type(error).__name__}: {error})", "read its log"
                    ) from error
            await asyncio.sleep(PROBE_SECONDS)


if __name__ == "__main__":
    try:
        asyncio.run(initialise(inside()))
    except StackError as error:
        sys.exit(f"error: {error}")
