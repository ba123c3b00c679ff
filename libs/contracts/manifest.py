"""The manifest, what an officer is asked to sign, and the root that commits to every byte of it."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, FailFast, Field, StringConstraints, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_core import PydanticCustomError, to_json

from libs.contracts.base import Base64, Exact, Part
from libs.contracts.ids import request_id_of
from libs.crypto.jcs import canonical
from libs.crypto.merkle import inclusion_paths, leaf_hash, root_from_path, tree_root

MAX_DOCUMENTS = 10_000
"""Documents in one request, roaming route."""

ROOT_DOMAIN = b"gpki.root.v1"
"""Domain separation of the root."""

SIGNATURE_DOMAIN = b"gpki.request-signature.v1"
"""Domain separation of the caller's signature over a root."""

Action = Literal["sah", "peraku"]
"""Certify, approve: the two buttons of the work list (slide step 2)."""

_PRINTABLE = re.compile(r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+$(?!\n)")
"""No control and no bidirectional override: what is displayed must be what is signed. Python's `$` alone would pass a
last line feed."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
MAX_NAME = 64
"""Characters of a name or id."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
DocumentId = Name
UserId = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
"""Nombor kad pengenalan, twelve digits."""
Amount = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,14})\.[0-9]{2}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class Header(Exact):
    """Who asks whom to do what, in which office, to how many documents. Every value is a string."""

    request: Name
    caller: Name
    system: Name
    user: UserId
    office: Name
    action: Action
    count: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}$")]

    @property
    def request_id(self) -> UUID:
        """The id of this request in keys, events and tables."""
        return request_id_of(self.caller, self.request)

    @property
    def documents(self) -> int:
        """`count` as a number."""
        return int(self.count)


# No model: a request has thousands of these, and with slots each takes a sixth of the memory.
@checked_dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Document:
    """One document as the officer sees it, and the SHA-256 of its bytes, which the platform never holds."""

    id: DocumentId
    kind: Name
    title: Text
    payee: Text
    amount: Amount
    currency: Currency
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the document's bytes."""
        return bytes.fromhex(self.sha256)

    @property
    def texts(self) -> dict[str, str]:
        """Every value by its name: what is hashed."""
        return {name: getattr(self, name) for name in DOCUMENT_FIELDS}

    @property
    def canonical(self) -> bytes:
        """The canonical form (RFC 8785) of `texts`: pydantic escapes as JCS does, and the names stand in its order."""
        return to_json({name: getattr(self, name) for name in _IN_ORDER})


DOCUMENT_FIELDS = tuple(field.name for field in fields(Document))
_IN_ORDER = sorted(DOCUMENT_FIELDS)


class Manifest(Exact):
    """Header and ordered documents; `count` equals their number and no id stands twice."""

    header: Header
    documents: Annotated[tuple[Document, ...], FailFast(), Field(min_length=1, max_length=MAX_DOCUMENTS)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.header.documents != len(self.documents):
            raise ValueError("header.count is not the number of documents")
        if len({document.id for document in self.documents}) != len(self.documents):
            raise ValueError("a document id stands twice")
        return self

    def commitment(self) -> "Commitment":
        """Hash the manifest. About 2 µs a document: call it off the event loop for long ones."""
        return _commit(self.header.model_dump(), [document.canonical for document in self.documents])


MAX_NAMES = 16
"""Names in a header or a document of an outsider; more is refused unread: a fault is found for each, and costs 1 KB."""


def _few_names(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_NAMES:
        raise PydanticCustomError("too_many_names", "more than {limit} names", {"limit": MAX_NAMES})
    return value


_Texts = Annotated[dict[str, str], BeforeValidator(_few_names)]


class UncheckedManifest(Part):
    """A manifest as an outsider sent it: shape only, so that its signature can be judged before its content.

    To be admitted it must be a `Manifest`.
    """

    header: _Texts
    documents: Annotated[tuple[_Texts, ...], FailFast(), Field(max_length=2 * MAX_DOCUMENTS)]

    def commitment(self) -> "Commitment":
        """Hash what was received, byte for byte what the caller signed if the caller is honest."""
        return _commit(self.header, [canonical(document) for document in self.documents])


class SignedManifest(Part):
    """A manifest with its caller's signature over the root; every stage that acts on it checks it again."""

    manifest: Manifest
    caller_key: str
    signature: Base64


@dataclass(frozen=True)
class Commitment:
    """The root of a manifest, and the means to prove each document's place under it.

    SHA-256("gpki.root.v1" ‖ SHA-256(JCS(header)) ‖ RFC 6962 root of JCS(document)); JCS is RFC 8785.
    """

    header_hash: bytes
    leaves: tuple[bytes, ...]

    @cached_property
    def root(self) -> bytes:
        """32 bytes that commit to the header and every document in order."""
        return _root(self.header_hash, tree_root(self.leaves))

    @cached_property
    def paths(self) -> list[list[bytes]]:
        """The inclusion path of every document, in order; at most 14 hashes each."""
        return inclusion_paths(self.leaves)


def root_of_document(header: Header, document: Document, index: int, path: Sequence[bytes]) -> bytes:
    """The root that a single document with its path proves. Raises ValueError for a path of impossible shape."""
    leaf = leaf_hash(document.canonical)
    tree = root_from_path(leaf, index, header.documents, list(path))
    return _root(_header_hash(header), tree)


def signature_input(root: bytes) -> bytes:
    """The bytes that a caller signs with its registered key (Ed25519, ECDSA P-256 or RSA, SHA-256)."""
    return SIGNATURE_DOMAIN + root


@lru_cache(maxsize=1024)
def _header_hash(header: Header) -> bytes:
    """Of requests whose documents come one by one."""
    return hashlib.sha256(canonical(header.model_dump())).digest()


def _commit(header: Mapping[str, str], documents: Sequence[bytes]) -> Commitment:
    """Of the header and every document's canonical form. Raises ValueError for text that is not valid Unicode."""
    return Commitment(
        header_hash=hashlib.sha256(canonical(header)).digest(),
        leaves=tuple(leaf_hash(document) for document in documents),
    )


def _root(header_hash: bytes, tree: bytes) -> bytes:
    return hashlib.sha256(ROOT_DOMAIN + header_hash + tree).digest()
