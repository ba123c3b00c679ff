"""The demonstration's officers: made anew for each run, so that no run meets what an earlier one locked or revoked."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from libs.crypto.pin_policy import is_weak
from libs.runtime.secret_files import write_secret
from services.igfmas.enrolment import Officer

OFFICE: Final = "JANM-NEGERI-SEMBILAN"
"""Of phase 1 of the go-live."""

DOMAIN: Final = "anm.example"
PIN_DIGITS: Final = 8


@dataclass(frozen=True)
class Cast:
    """Who plays what. Everybody but the last three signs well."""

    certifier: Officer
    approver: Officer
    singles: tuple[Officer, ...]
    batch: Officer
    token: Officer
    wrong_otp: Officer
    wrong_pin: Officer
    revoked: Officer

    @property
    def everyone(self) -> tuple[Officer, ...]:
        """In the order in which they are needed."""
        return (
            *(self.certifier, self.approver, *self.singles),
            *(self.batch, self.token, self.wrong_otp, self.wrong_pin, self.revoked),
        )

    @property
    def roaming(self) -> tuple[Officer, ...]:
        """Everybody whose key is on the server."""
        return tuple(officer for officer in self.everyone if officer is not self.token)


def new_cast() -> Cast:
    """Twelve officers with numbers, mailboxes and PINs that nobody had before; one signs with a P-256 key."""
    run = secrets.token_hex(3)
    return Cast(
        certifier=_officer("Nor Azizah binti Ahmad", "sah", run),
        approver=_officer("Kamarul Zaman bin Idris", "peraku", run),
        singles=(
            _officer("Suhaila binti Mokhtar", "sah", run),
            _officer("Hairul Nizam bin Jalil", "sah", run),
            _officer("Chan Mei Yee", "sah", run),
            _officer("Thanaletchumi a/p Rajoo", "sah", run),
            _officer("Mohd Fadzli bin Rosli", "sah", run, "p-256"),
        ),
        batch=_officer("Rohani binti Samad", "sah", run),
        token=_officer("Lim Siew Hong", "sah", run),
        wrong_otp=_officer("Azlan bin Harun", "sah", run),
        wrong_pin=_officer("Jamilah binti Othman", "sah", run),
        revoked=_officer("Ismail bin Tahir", "sah", run),
    )


def write_officers(file: Path, officers: Sequence[Officer]) -> None:
    """Keep the demonstration's accounts, PINs among them, readable by the owner only (0600)."""
    entries = [
        {
            "name": officer.name,
            "user": officer.user,
            "role": officer.role,
            "office": officer.office,
            "email": officer.email,
            "algorithm": officer.algorithm,
            "credential_id": str(officer.credential_id),
            "pin": officer.pin,
        }
        for officer in officers
    ]
    write_secret(file, f"{json.dumps(entries, indent=2, ensure_ascii=False)}\n".encode())


def _officer(
    name: str, role: Literal["sah", "peraku"], run: str, algorithm: Literal["rsa-2048", "p-256"] = "rsa-2048"
) -> Officer:
    mailbox = name.replace(" binti ", " ").replace(" bin ", " ").replace(" a/p ", " ").lower().replace(" ", ".")
    user = _identity_card_number()
    return Officer(
        application=uuid4(),
        user=user,
        name=name,
        role=role,
        email=f"{mailbox}.{run}@{DOMAIN}",
        office=OFFICE,
        algorithm=algorithm,
        pin=_pin(user),
    )


def _pin(user: str) -> str:
    """A PIN that the signer takes: what chance makes of eight digits is too easy to guess now and then."""
    while is_weak(pin := f"{secrets.randbelow(10**PIN_DIGITS):0{PIN_DIGITS}}", user=user):
        continue
    return pin


def _identity_card_number() -> str:
    """YYMMDD-PB-####, without hyphens: somebody born in the sixties to nineties, in Negeri Sembilan (05)."""
    year, month, day = 60 + secrets.randbelow(40), 1 + secrets.randbelow(12), 1 + secrets.randbelow(28)
    return f"{year:02}{month:02}{day:02}05{secrets.randbelow(10_000):04}"
