"""Have one file signed over HTTP: `sign_with_roaming.py FILE REQUEST`; the officer's OTP and PIN are asked for."""

import asyncio
import getpass
import hashlib
import os
import ssl
import sys
from pathlib import Path

from gpki_client import Caller, Document, GpkiClient, Manifest, tls_context

ENV = os.environ


async def sign(content: bytes, request: str, caller: Caller, service_root: bytes, tls: ssl.SSLContext) -> None:
    """Start, follow to the end, and authorise whenever there is a code to enter."""
    digest = hashlib.sha256(content).hexdigest()
    document = Document(f"{request}-1", "baucar", "Bekalan alat tulis", "Syarikat Maju", "1250.00", "MYR", digest)
    who = {"caller": caller.name, "system": ENV["GPKI_SYSTEM"], "user": ENV["GPKI_USER"], "office": ENV["GPKI_OFFICE"]}
    manifest = Manifest.of([document], request=request, action="sah", **who)
    async with GpkiClient(ENV["GPKI_URL"], caller, service_root=service_root, tls=tls) as gpki:
        await gpki.start(manifest)
        async for event in gpki.follow(manifest.request_id, manifest.user):
            print(event.seq, event.kind, dict(event.data), flush=True)
            if event.kind in {"otp-dispatched", "authorisation-failed"} and event.data.get("attempts_left") != 0:
                otp = await asyncio.to_thread(input, f"OTP {event.data['reference_code']}: ")
                pin = await asyncio.to_thread(getpass.getpass, "PIN: ")
                await gpki.authorise(manifest.request_id, manifest.user, root=manifest.root, pin=pin, otp=otp)


if __name__ == "__main__":
    key, root = Path(ENV["GPKI_CALLER_KEY"]), Path(ENV["GPKI_SERVICE_ROOT"]).read_bytes()
    caller = Caller.from_pem(ENV["GPKI_CALLER"], key.read_bytes())
    tls = tls_context(ENV["GPKI_TLS_ROOT"], certificate=ENV["GPKI_CALLER_CERTIFICATE"], key=key)
    asyncio.run(sign(Path(sys.argv[1]).read_bytes(), sys.argv[2], caller, root, tls))
