"""Ask for one file's signing on Kafka and wait for its end there: `kafka_alone.py FILE REQUEST`."""

import asyncio
import hashlib
import os
import ssl
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
        **transport(),
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


def transport() -> dict[str, object]:
    """TLS, under the brokers' authority as it was handed to you; without it only where nothing leaves the machine."""
    if (authority := ENV.get("GPKI_KAFKA_ROOT")) is None:
        return {"security_protocol": "SASL_PLAINTEXT"}
    return {"security_protocol": "SASL_SSL", "ssl_context": ssl.create_default_context(cafile=authority)}


if __name__ == "__main__":
    key, root = (Path(ENV[name]).read_bytes() for name in ("GPKI_CALLER_KEY", "GPKI_SERVICE_ROOT"))
    known = Path(ENV["GPKI_KAFKA_PASSWORD_FILE"]).read_text().strip()
    me = Caller.from_pem(ENV["GPKI_CALLER"], key)
    asyncio.run(sign(Path(sys.argv[1]).read_bytes(), sys.argv[2], me, known, root))
