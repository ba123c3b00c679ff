"""An officer's token outside the platform: SoftHSM in a directory of its own, with keys that another program made."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
LABEL = "pegawai"
PIN = "token-pin-canary-19"

RSA, P256 = "tandatangan-rsa", "tandatangan-p256"
"""Labels of the two keys."""

_MAKE = """
import json, sys, pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters
from libs.hsm.provision import provision_token
module, label, pin, rsa, p256 = json.load(sys.stdin)
provision_token(module, label, "so-" + pin, pin)
library = pkcs11.lib(module)
with library.get_token(token_label=label).open(rw=True, user_pin=pin) as session:
    session.generate_keypair(KeyType.RSA, 2048, store=True, label=rsa, id=b"1")
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(store=True, label=p256, id=b"2")
"""


@dataclass(frozen=True)
class TokenFolder:
    """A token on disk. Whoever uses it sets SOFTHSM2_CONF to `conf`."""

    root: Path

    @property
    def conf(self) -> str:
        return str(self.root / "softhsm2.conf")

    @classmethod
    def create(cls, root: Path) -> "TokenFolder":
        """With both keys, made by another process: this one may hold another token."""
        folder = cls(root)
        (root / "tokens").mkdir(parents=True)
        Path(folder.conf).write_text(
            f"directories.tokendir = {root}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        subprocess.run(
            [sys.executable, "-c", _MAKE],
            input=json.dumps([MODULE, LABEL, PIN, RSA, P256]).encode(),
            env={**os.environ, "SOFTHSM2_CONF": folder.conf},
            cwd=Path(__file__).parents[2],
            check=True,
            timeout=60,
        )
        return folder
