"""The manifest: what an officer is asked to sign, and the root that commits to every byte of it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, Self
from uuid import UUID, uuid5

from .errors import ManifestError
from .merkle import inclusion_paths, leaf_hash, root_from_path, tree_root

NAMESPACE = UUID("6f1b4f0e-5f0c-5e3b-9a35-0f3c6c1f7a11")
"""Root of every id of the platform (UUIDv5)."""

MAX_DOCUMENTS = 10_000
"""Documents of one request; with a token 500."""

Action = Literal["sah", "peraku"]
"""Certify, approve."""

_ROOT_DOMAIN = b"gpki.root.v1"
_SIGNATURE_DOMAIN = b"gpki.request-signature.v1"

_NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
_TEXT = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]{1,200}"
"""No control and no bidirectional override: what is displayed must be what is signed."""

_FORMS = {
    "request": _NAME,
    "caller": _NAME,
    "system": _NAME,
    "user": r"[0-9]{12}",
    "office": _NAME,
    "action": r"sah|peraku",
    "count": r"[1-9][0-9]{0,4}",
    "id": _NAME,
    "kind": _NAME,
    "title": _TEXT,
    "payee": _TEXT,
    "amount": r"(0|[1-9][0-9]{0,14})\.[0-9]{2}",
    "currency": r"[A-Z]{3}",
    "sha256": r"[0-9a-f]{64}",
}


class _Texts:
    """Fields that are all texts, each of its form."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if not isinstance(value, str) or not re.fullmatch(_FORMS[field.name], value, re.ASCII):
                raise ManifestError(f"{field.name} is not of its form")


@dataclass(frozen=True, slots=True)
class Header(_Texts):
    """Who asks whom to do what, in which office, to how many documents. Raises ManifestError."""

    request: str
    caller: str
    system: str
    user: str
    office: str
    action: Action
    count: str


@dataclass(frozen=True, slots=True)
class Document(_Texts):
    """One document as the officer sees it, and the hex SHA-256 of its bytes. Raises ManifestError."""

    id: str
    kind: str
    title: str
    payee: str
    amount: str
    currency: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Header and documents in order. Raises ManifestError for a wrong count, or an id that stands twice."""

    header: Header
    documents: tuple[Document, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.documents) <= MAX_DOCUMENTS or self.header.count != str(len(self.documents)):
            raise ManifestError("count is not the number of documents, 1 to 10,000")
        if len({document.id for document in self.documents}) != len(self.documents):
            raise ManifestError("a document id stands twice")

    @classmethod
    def of(
        cls,
        documents: Sequence[Document],
        *,
        request: str,
        caller: str,
        system: str,
        user: str,
        office: str,
        action: Action,
    ) -> Self:
        """A manifest whose count is right. `request` is your own id, never used for anything else."""
        header = Header(request, caller, system, user, office, action, str(len(documents)))
        return cls(header, tuple(documents))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read {header, documents}. Raises ManifestError, also for names that a manifest does not have."""
        try:
            return cls(Header(**value["header"]), tuple(Document(**document) for document in value["documents"]))
        except (KeyError, TypeError):
            raise ManifestError("not a header and documents") from None

    def as_json(self) -> dict[str, Any]:
        """{header, documents}, as it travels."""
        return {"header": asdict(self.header), "documents": [asdict(document) for document in self.documents]}

    @property
    def request_id(self) -> UUID:
        """The id of the request everywhere in the platform."""
        return request_id_of(self.header.caller, self.header.request)

    @property
    def user(self) -> str:
        """The officer who is asked."""
        return self.header.user

    @cached_property
    def root(self) -> bytes:
        """32 bytes that commit to the header and every document in order; about 8 µs a document."""
        return _root(asdict(self.header), tree_root(self._leaves))

    @cached_property
    def paths(self) -> list[list[bytes]]:
        """The inclusion path of every document, in order."""
        return inclusion_paths(self._leaves)

    @cached_property
    def _leaves(self) -> list[bytes]:
        return [leaf_hash(canonical(asdict(document))) for document in self.documents]


def request_id_of(caller: str, request: str) -> UUID:
    """The platform's id of a caller's request."""
    return uuid5(uuid5(NAMESPACE, caller), request)


def root_of_document(
    header: Mapping[str, str], document: Mapping[str, str], index: int, path: Sequence[bytes]
) -> bytes:
    """The root that one document with its path proves. Raises ValueError for a path of impossible shape."""
    return _root(header, root_from_path(leaf_hash(canonical(document)), index, int(header["count"]), path))


def signature_input(root: bytes) -> bytes:
    """What a caller signs with its registered key."""
    return _SIGNATURE_DOMAIN + root


def canonical(value: object) -> bytes:
    """RFC 8785 for JSON of objects, lists and texts with ASCII names, which is all that the platform hashes.

    Raises ValueError for text that is not valid Unicode.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _root(header: Mapping[str, str], tree: bytes) -> bytes:
    return hashlib.sha256(_ROOT_DOMAIN + hashlib.sha256(canonical(header)).digest() + tree).digest()
