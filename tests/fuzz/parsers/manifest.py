"""Manifests: as a caller signs them, judged as medium_lookup and the gateway judge them."""

import json
from collections.abc import Iterable

from pydantic import ValidationError

from libs.bus.admission import Forged, Refused, admit
from libs.contracts.manifest import Manifest, UncheckedManifest, root_of_document, signature_input
from libs.contracts.signing import Requested
from libs.crypto.jcs import StrictJsonError, loads_strict
from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceIdentity
from libs.gpki_client import manifest as sdk
from libs.gpki_client.errors import ManifestError
from tests.fuzz.mutating import mutate_json
from tests.fuzz.parsers.authority import fixed_signer
from tests.fuzz.target import Target
from tests.support.pki import EPOCH
from tests.support.requests import documents, header

_CALLER = fixed_signer(1)
_IDENTITY = ServiceIdentity("igfmas", ServicePurpose.CALLER, "k", _CALLER.public_key(), EPOCH, "iGFMAS")


def accepts(data: bytes) -> bool:
    """Whether it is admitted, rightly signed; then all three readings have one root, and every path leads to it."""
    try:
        value = loads_strict(data)
        received = UncheckedManifest.model_validate(value)
        root = received.commitment().root
    except (StrictJsonError, ValidationError, ValueError):
        return False
    event = Requested(manifest=received, caller_key="k", signature=_CALLER.sign(signature_input(root)))
    assert isinstance(admit(event.model_copy(update={"signature": bytes(64)}), _IDENTITY), Forged)
    admitted = admit(event, _IDENTITY)
    try:
        theirs = sdk.Manifest.from_json(value) if set(value) == {"header", "documents"} else None
    except ManifestError:
        theirs = None
    if not isinstance(admitted, Manifest):
        assert isinstance(admitted, Refused | Forged)
        return False
    assert theirs is None or theirs.root == root
    commitment = admitted.commitment()
    assert commitment.root == root
    for index, (document, path) in enumerate(zip(admitted.documents, commitment.paths, strict=True)):
        assert root_of_document(admitted.header, document, index, path) == root
    return True


def seeds() -> Iterable[bytes]:
    """One document, and five."""
    for count in (1, 5):
        head = header("800101145566", count, request="r-1")
        yield json.dumps({"header": head, "documents": documents(count)}).encode()


TARGET = Target("manifest", accepts, seeds, mutate_json)
