"""The SDK of GPKI remote signing, for systems that have documents signed by officers.

`GpkiClient` is the GPKI API over HTTP; `Manifest` and `Document` say what is to be signed; `Caller` is your key. Beside
them: `token` (the officer's own PKCS#11 token), `device` (GPKI Mobile without a screen), `record` (offline proof of a
posted document) and `kafka` (without HTTP). Imports nothing of its repository, and only relatively.
"""

from .answers import Dispatch, Event, Failure, Medium, Rejection, Result, Started, Status, Wait, read
from .caller import Caller
from .client import GpkiClient
from .errors import (
    AnswerError,
    CertificateError,
    CheckpointError,
    ForgedEventError,
    GpkiError,
    GpkiUnavailable,
    ManifestError,
    Problem,
    RecordError,
    SealingError,
    SecretsError,
    TokenError,
)
from .manifest import Document, Header, Manifest
from .sealing import SealingKey
from .tls import tls_context

__all__ = [
    "AnswerError",
    "Caller",
    "CertificateError",
    "CheckpointError",
    "Dispatch",
    "Document",
    "Event",
    "Failure",
    "ForgedEventError",
    "GpkiClient",
    "GpkiError",
    "GpkiUnavailable",
    "Header",
    "Manifest",
    "ManifestError",
    "Medium",
    "Problem",
    "RecordError",
    "Rejection",
    "Result",
    "SealingError",
    "SealingKey",
    "SecretsError",
    "Started",
    "Status",
    "TokenError",
    "Wait",
    "read",
    "tls_context",
]
