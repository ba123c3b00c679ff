"""The token officer's token: SoftHSM in a folder of its own, which no service can read; nothing of it is kept."""

import asyncio
import json
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from deploy.native import programs
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT
from libs.gpki_client.token import OfficerToken

LABEL: Final = "pegawai"
KEY: Final = "tandatangan"
SECONDS: Final = 60.0


@asynccontextmanager
async def usb_token() -> AsyncIterator[OfficerToken]:
    """A new token with an RSA-2048 key, logged in. Raises StackError, TokenError. One at a time in a process."""
    with tempfile.TemporaryDirectory(prefix="gpki-token-") as folder:
        module, pin = str(programs.pkcs11_module()), secrets.token_hex(8)
        configuration = Path(folder) / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
        await _make(configuration, {"module": module, "label": LABEL, "pin": pin, "rsa": KEY})
        os.environ["SOFTHSM2_CONF"] = str(configuration)  # SoftHSM has no other way to be told
        try:
            async with await OfficerToken.open(module, LABEL, pin) as token:
                yield token
        finally:
            del os.environ["SOFTHSM2_CONF"]


async def _make(configuration: Path, what: dict[str, str]) -> None:
    maker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "libs.hsm.software_token"),
        cwd=CHECKOUT,
        env={**os.environ, "SOFTHSM2_CONF": str(configuration)},
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        _, said = await maker.communicate(json.dumps(what).encode())
    if maker.returncode:
        reason = (said.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise StackError(f"the demonstration's token could not be made: {reason}", "run `make setup`")
