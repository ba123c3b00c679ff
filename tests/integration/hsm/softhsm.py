"""A SoftHSM token in a directory of its own, and what an outsider can do to it behind the Hsm's back."""

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from pkcs11 import Attribute, KeyType, MechanismFlag
from pydantic import SecretStr

from libs.hsm import wrapping_keys
from libs.hsm.hsm import Hsm
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

_MAKE_WRAPPING_KEY = """
import json, sys
from pydantic import SecretStr
from libs.hsm.wrapping_keys import ensure_wrapping_key
module, token, label, user, so = json.load(sys.stdin)
ensure_wrapping_key(module, token, label, user_pin=SecretStr(user), so_pin=lambda: SecretStr(so))
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
        another_process(_CHANGE_PIN, LABEL, old.get_secret_value(), new.get_secret_value(), conf=self.conf)


def another_process(program: str, *arguments: str, conf: str) -> None:
    """Run it with the module's path and these, since a process logs in as one."""
    subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([MODULE, *arguments]).encode(),
        env={**os.environ, "SOFTHSM2_CONF": conf},
        check=True,
        timeout=60,
    )


def make_untrusted_wrapping_key(session: TokenSession, label: str) -> None:
    """As the platform made them before the security officer did."""
    session.raw.generate_key(
        KeyType.AES,
        256,
        label=label,
        store=True,
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        template={
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.MODIFIABLE: False,
            Attribute.UNWRAP_TEMPLATE: dict(wrapping_keys._LEAVES_NEVER),
        },
    )


async def ensure_wrapping_key(hsm: Hsm, label: str) -> None:
    """Made by the security officer, while an Hsm is open here; the token is that of `soft_hsm`."""
    if not await hsm.has_secret_key(label):
        given = LABEL, label, USER_PIN.get_secret_value(), SO_PIN.get_secret_value()
        await asyncio.to_thread(another_process, _MAKE_WRAPPING_KEY, *given, conf=os.environ["SOFTHSM2_CONF"])


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
