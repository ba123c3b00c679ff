"""A SoftHSM token in a directory of its own, and what an outsider can do to it behind the Hsm's back."""

import ctypes
import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from libs.hsm.token_session import TokenSession

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
LABEL = "users"
SO_PIN = SecretStr("so-pin-canary-51")
USER_PIN = SecretStr("user-pin-canary-73")
WRONG_PIN = SecretStr("wrong-pin-canary-37")

_CHANGE_PIN = """
import json, sys, pkcs11
module, label, old, new = json.load(sys.stdin)
pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin=old).set_pin(old, new)
"""


@dataclass(frozen=True)
class SoftHsm:
    root: Path

    @classmethod
    def create(cls, root: Path) -> "SoftHsm":
        (root / "tokens").mkdir(parents=True)
        (root / "softhsm2.conf").write_text(
            f"directories.tokendir = {root}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        return cls(root)

    @property
    def conf(self) -> str:
        return str(self.root / "softhsm2.conf")

    @property
    def tokens(self) -> Path:
        return self.root / "tokens"

    def change_user_pin(self, old: SecretStr, new: SecretStr) -> None:
        """By another process, as an administrator would."""
        pins = json.dumps([MODULE, LABEL, old.get_secret_value(), new.get_secret_value()])
        subprocess.run(
            [sys.executable, "-c", _CHANGE_PIN],
            input=pins.encode(),
            env={**os.environ, "SOFTHSM2_CONF": self.conf},
            check=True,
            timeout=20,
        )


def close_all_sessions(session: TokenSession) -> None:
    assert ctypes.CDLL(MODULE).C_CloseAllSessions(ctypes.c_ulong(session.raw.token.slot.slot_id)) == 0


def log_out(session: TokenSession) -> None:
    handle: int = session.raw.handle  # type: ignore[attr-defined]
    assert ctypes.CDLL(MODULE).C_Logout(ctypes.c_ulong(handle)) == 0


def finalize_module(_session: TokenSession) -> None:
    assert ctypes.CDLL(MODULE).C_Finalize(None) == 0


def rendered_with_locals(error: BaseException) -> str:
    """The traceback as a careless logger would print it, without the frame of the test, whose locals hold the PIN."""
    assert error.__traceback__ is not None
    ours = error.with_traceback(error.__traceback__.tb_next)
    return "".join(traceback.TracebackException.from_exception(ours, capture_locals=True).format())


def count_objects(session: TokenSession) -> int:
    """Token and session objects that this login can see."""
    session.raw.generate_random(8)  # a dead session must fail here, see TokenSession.find
    return len(list(session.raw.get_objects()))
