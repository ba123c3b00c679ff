"""The gateway as a process: ready when it can work, gone in time when it is told to stop."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.native.layout import CHECKOUT
from deploy.native.parts import inherited, service_environment
from libs.bus.signing import PRODUCER_KEY
from libs.bus.topics import create_topics
from libs.crypto.requests import new_signing_key
from libs.gpki_client import tls_context
from libs.runtime.secret_files import ensure_secret
from tests.support.pki import Pki
from tests.support.stack import WITH_US, Stack
from tests.support.waiting import eventually

STOPS_WITHIN = 20
"""Seconds; the supervisor kills after that."""


async def test_the_process_serves_until_sigterm_and_ends_with_zero(stack: Stack, pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
    await create_topics(stack.kafka)
    ensure_secret(stack.layout.secrets("gateway"), PRODUCER_KEY, new_signing_key)
    tls = tls_context(stack.layout.tls_root)
    settings = service_environment(stack.layout, "gateway") | {"GPKI_PKI_DIR": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(*WITH_US, sys.executable, "-m", "services.gateway"),
            cwd=CHECKOUT,
            env={**inherited(), **settings},
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(verify=tls, trust_env=False) as client:

            async def is_ready() -> bool:
                assert process.returncode is None, (tmp_path / "log").read_text()
                try:
                    answer = await client.get(f"http://127.0.0.1:{settings['GPKI_HEALTH_PORT']}/readyz")
                except httpx.TransportError:
                    return False
                return answer.status_code == 200

            await eventually(is_ready, "ready", seconds=90, every=0.2)
            answer = await client.get(f"https://127.0.0.1:{settings['GPKI_GATEWAY_PORT']}/v1/sealing-key")
            assert answer.status_code == 401
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOPS_WITHIN):
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()
