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
            [sys.executable, "-m", "libs.hsm.software_token"],
            input=json.dumps({"module": MODULE, "label": LABEL, "pin": PIN, "rsa": RSA, "p256": P256}).encode(),
            env={**os.environ, "SOFTHSM2_CONF": folder.conf},
            cwd=Path(__file__).parents[2],
            check=True,
            timeout=60,
        )
        return folder
