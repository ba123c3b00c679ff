"""Readiness by a real client: each probe returns when its part does its work, and raises when it does not yet."""

import asyncio
import logging
import urllib.request
from dataclasses import replace

from deploy.native.ports import HOST
from libs.bus.topics import administration
from libs.runtime.kafka_access import KafkaAccess

CLIENT_SECONDS = 5
"""Bound on one attempt of any probe."""

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a refused connection is what a probe waits for, no news


async def kafka(access: KafkaAccess, port: int, *, host: str = HOST, brokers: int = 1) -> None:
    """Ask the broker at this address for its metadata, and find that all know each other.

    Raises KafkaError or OSError.
    """
    await _connects(port, host)  # aiokafka alone would retry a refused connection for seconds
    asked = replace(access, bootstrap=f"{host}:{port}")
    async with administration(asked, timeout_ms=CLIENT_SECONDS * 1000) as admin:
        cluster = await admin.describe_cluster()
    if len(cluster["brokers"]) < brokers:
        raise ConnectionError(f"the controller knows {len(cluster['brokers'])} of {brokers} brokers yet")


async def smtp(port: int) -> None:
    """Say EHLO and QUIT. Raises OSError."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        await _reply(reader, b"220")
        writer.write(b"EHLO probe\r\n")
        await _reply(reader, b"250")
        writer.write(b"QUIT\r\n")
        await _reply(reader, b"221")
    finally:
        writer.close()


async def _reply(reader: asyncio.StreamReader, code: bytes) -> None:
    while True:
        line = await reader.readline()
        if not line.startswith(code):
            raise ConnectionError(f"SMTP answered {line!r}")
        if line[3:4] == b" ":
            return


async def http_ready(port: int) -> None:
    """GET /readyz. Raises OSError (HTTPError included) unless it answers 200."""
    await _connects(port)
    await asyncio.to_thread(_get, f"http://{HOST}:{port}/readyz")


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=CLIENT_SECONDS) as answer:  # noqa: S310 (a constant http URL)
        answer.read()


async def _connects(port: int, host: str = HOST) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
