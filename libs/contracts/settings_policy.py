"""The policy of settings: what two security officers sign before a service runs with other values (ADM-1)."""

import hashlib
from typing import Annotated, Final

from pydantic import Field

from libs.contracts.base import Exact
from libs.contracts.enrolment import AdministratorSignature
from libs.contracts.manifest import Name
from libs.crypto.jcs import canonical

SETTINGS_POLICY_DOMAIN: Final = b"gpki.settings-policy.v1"

SETTINGS_POLICY_FILE: Final = "settings_policy.json"
"""In `GPKI_PKI_DIR`, beside the pinned root: whoever puts it there, its signatures alone count."""

TOKEN_KEY: Final = "token_key"  # noqa: S105 (a name, and of a public key)
"""Beside the settings of a service with an HSM token: the id of a key that lies in it, 64 hex digits."""

MAX_INTEGER: Final = 2**53 - 1
"""What JSON of every reader has exactly (RFC 7493)."""

Value = str | Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] | bool | tuple[str, ...] | None
"""A setting's value as JSON has it; a sum of money or a duration is text."""


class SettingsPolicy(Exact):
    """Service → setting → value, by their names; what is not named is held at its default.

    A change has the next `version`: none that is lower than one that was in force comes back.
    """

    version: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    settings: dict[Name, dict[Name, Value]]

    @property
    def digest(self) -> bytes:
        """SHA-256 of its canonical JSON. Raises CanonicalJsonError for text that has none."""
        return hashlib.sha256(canonical(self.model_dump(mode="json"))).digest()


class SignedSettingsPolicy(Exact):
    """A policy with the signatures that it has so far; the keys are those of security officers."""

    policy: SettingsPolicy
    signatures: tuple[AdministratorSignature, ...] = ()


def settings_policy_signature_input(policy: SettingsPolicy) -> bytes:
    """What each security officer signs: SETTINGS_POLICY_DOMAIN ‖ SHA-256(JCS(policy))."""
    return SETTINGS_POLICY_DOMAIN + policy.digest
