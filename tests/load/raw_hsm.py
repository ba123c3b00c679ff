"""The raw rate of the HSM: python-pkcs11 alone in one process, RSA-2048 with SHA-256, nothing else of ours in the way.

`python -m tests.load.raw_hsm MODULE SECONDS` prints signatures per second. The token is made and deleted by each run.
"""

import os
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import KeyType, Mechanism

from libs.hsm.provision import provision_token

LABEL = "raw"
BATCH = 50
"""Signatures between two looks at the clock."""


def measure(module: str, seconds: float) -> float:
    """Signatures per second of one thread with a session key, after a warm-up of a tenth of the time."""
    with tempfile.TemporaryDirectory(prefix="gpki-raw-hsm-") as folder:
        tokens = Path(folder) / "tokens"
        tokens.mkdir()
        conf = Path(folder) / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(conf)
        pin = secrets.token_hex(8)
        provision_token(module, LABEL, pin, pin)
        token = pkcs11.lib(module).get_token(token_label=LABEL)
        with token.open(rw=True, user_pin=pin) as session:
            _, private = session.generate_keypair(KeyType.RSA, 2048, store=False)
            _rate(private, seconds / 10)
            return _rate(private, seconds)


def _rate(private: Any, seconds: float) -> float:
    signed, message, began = 0, secrets.token_bytes(200), time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        for _ in range(BATCH):
            private.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS)
        signed += BATCH
    return signed / took


if __name__ == "__main__":
    sys.stdout.write(f"{measure(sys.argv[1], float(sys.argv[2]))}\n")
