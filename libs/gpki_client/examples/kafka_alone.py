"""Ask for one file's signing on Kafka and wait for its end there: `kafka_alone.py FILE REQUEST`."""

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from gpki_client import Caller, Document, Manifest
from gpki_client.kafka import KafkaClient

ENV = os.environ


async def sign(content: bytes, request: str, caller: Caller, password: str, root: bytes) -> None:
    """Produce `requested`; the officer enters PIN and OTP elsewhere; then `completed` says what became of it."""
    digest = hashlib.sha256(content).hexdigest()
    document = Document(f"{request}-1", "baucar", "Bekalan alat tulis", "Syarikat Maju", "1250.00", "MYR", digest)
    who = {"caller": caller.name, "system": ENV["GPKI_SYSTEM"], "user": ENV["GPKI_USER"], "office": ENV["GPKI_OFFICE"]}
    manifest = Manifest.of([document], request=request, action="sah", **who)
    security = {
        "security_protocol": "SASL_PLAINTEXT",  # SASL_SSL, with an ssl_context, wherever it leaves your own machine
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": caller.name,
        "sasl_plain_password": password,
    }
    async with KafkaClient(
        ENV["GPKI_KAFKA"], caller, group=f"{caller.name}-sdk", service_root=root, **security
    ) as kafka:
        await kafka.request(manifest)
        print("requested", manifest.request_id, manifest.root.hex(), flush=True)
        async for end in kafka.completed():
            if end.request_id == manifest.request_id:
                print("completed", [one.document_id for one in end.posted], [one.reason for one in end.rejected])
                return


if __name__ == "__main__":
    key, root = (Path(ENV[name]).read_bytes() for name in ("GPKI_CALLER_KEY", "GPKI_SERVICE_ROOT"))
    known = Path(ENV["GPKI_KAFKA_PASSWORD_FILE"]).read_text().strip()
    me = Caller.from_pem(ENV["GPKI_CALLER"], key)
    asyncio.run(sign(Path(sys.argv[1]).read_bytes(), sys.argv[2], me, known, root))
