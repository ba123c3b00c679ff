"""What this package raises. No text holds a PIN, an OTP, a key or an assertion."""

from collections.abc import Mapping
from typing import Any


class GpkiError(Exception):
    """The base of every error here."""


class ManifestError(GpkiError, ValueError):
    """A manifest that the platform would refuse; the text names the field, never its value."""


class SecretsError(GpkiError, ValueError):
    """A PIN or OTP of impossible form."""


class SealingError(GpkiError):
    """What was offered as the signer's key is not it, or a sealed message does not open."""


class CertificateError(GpkiError):
    """A certificate that may not be relied on; the text names the rule."""


class GpkiUnavailable(GpkiError):
    """The API could not be asked, several times. Nobody knows more than before: call again with the same key."""


class AnswerError(GpkiError):
    """The API answered something that is not of the agreed form."""


class ForgedEventError(GpkiError):
    """An event that no producer of its topic has signed; the text says why."""


class UnknownProducerError(ForgedEventError):
    """Signed by a key that `gpki.keys.v1` did not name as far as it was read."""


class Problem(GpkiError):
    """The API refused a call (RFC 9457). `code` is stable; `detail` and `next_step` are for people.

    `told` is the whole answer: `title`, `signed`, `posted`, and `errors`, each with the place and the rule it breaks.
    """

    def __init__(self, status: int, told: Mapping[str, Any]) -> None:
        code, detail, next_step, trace_id = (
            str(told.get(name, "")) for name in ("code", "detail", "next_step", "trace_id")
        )
        faults = "; ".join(f"{one.get('place')}: {one.get('rule')}" for one in told.get("errors") or ())
        about = f" [{faults}]" if faults else ""
        super().__init__(f"{status} {code}: {detail}{about} {next_step} (trace {trace_id or 'unknown'})")
        self.told = told
        self.status = status
        self.code = code
        self.detail = detail
        self.next_step = next_step
        self.trace_id = trace_id


class TokenError(GpkiError):
    """The token could not be used; `reason` is stable."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


class RecordError(GpkiError):
    """A record that does not prove what it says; `check` names the check that failed and is stable."""

    def __init__(self, check: str, text: str) -> None:
        super().__init__(f"{check}: {text}")
        self.check = check


class TrustError(GpkiError):
    """A CRL that was consulted cannot be had: the receipt would not be complete."""


class CheckpointError(GpkiError, ValueError):
    """A checkpoint of the signing log, or a key that signs them, that is not what it says."""
