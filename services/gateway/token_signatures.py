"""Step 8 of a token's officer: the signatures that the own token made, taken for one request (slide step 8')."""

import asyncio
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import structlog

from libs.bus.outcomes import Emit
from libs.contracts.document_signature import TOKEN
from libs.contracts.manifest import SignedManifest
from libs.contracts.problems import ProblemCode
from libs.contracts.token_route import TokenSigned
from libs.contracts.topics import Topic
from libs.storage.pool import Connection
from services.gateway import store, timeline
from services.gateway.problems import ProblemError
from services.gateway.promises import Call, Promise, Promises
from services.gateway.schemas import SigningStatus
from services.gateway.submissions import status_url
from services.gateway.timeline import Advance
from services.gateway.token_schemas import SignaturesAccepted, TokenSignatures

log = structlog.get_logger()


class TokenDesk:
    """Takes signatures and judges none: crl_verifier does."""

    def __init__(self, promises: Promises, *, emits_to: Topic) -> None:
        self._promises = promises
        self._emits_to = emits_to

    async def take(self, call: Call, body: TokenSignatures, status: SigningStatus) -> SignaturesAccepted:
        """Hand on each signature, once per idempotency key. Raises ProblemError, Unavailable."""
        documents = tuple(one.document for one in body.signatures)

        async def make(connection: Connection) -> Promise:
            if status.medium not in (None, TOKEN):
                raise ProblemError(ProblemCode.WRONG_MEDIUM)
            if status.state in {"ending", "completed"}:
                raise ProblemError(ProblemCode.TOKEN_SIGNATURES_TOO_LATE)
            signed = await store.manifest(connection, call.request_id)
            if status.medium is None or signed is None:
                raise ProblemError(ProblemCode.TOKEN_SIGNATURES_TOO_EARLY)
            return await asyncio.to_thread(self._promise, call.request_id, body, signed)

        def row(request_id: UUID, _: str, at: datetime) -> Advance:
            return timeline.token_signed(request_id, documents, at)

        body_hash = await asyncio.to_thread(_body_hash, call, body)
        await self._promises.keep(call, body_hash, make, row)
        log.info("token-signed", request_id=str(call.request_id), documents=len(documents))
        return SignaturesAccepted(accepted=len(documents), status_url=status_url(call))

    def _promise(self, request_id: UUID, body: TokenSignatures, signed: bytes) -> Promise:
        """An event per signature, with its document's place under the root. About 20 µs a document of the request."""
        manifest = SignedManifest.model_validate_json(signed).manifest
        paths = manifest.commitment().paths
        places = {document.id: index for index, document in enumerate(manifest.documents)}
        if any(one.document not in places for one in body.signatures):
            raise ProblemError(ProblemCode.DOCUMENT_NOT_IN_REQUEST)
        events = (
            TokenSigned(
                request_id=request_id,
                header=manifest.header,
                index=places[one.document],
                entry=manifest.documents[places[one.document]],
                path=tuple(paths[places[one.document]]),
                cms=one.cms,
            )
            for one in body.signatures
        )
        return Promise(tuple(Emit(self._emits_to, event) for event in events), str(len(body.signatures)), sealed=False)


def _body_hash(call: Call, body: TokenSignatures) -> bytes:
    """What makes two calls the same call; how their JSON is written does not."""
    whole = sha256("\x1f".join(("token-signatures", str(call.request_id), call.caller.user)).encode())
    for one in body.signatures:
        whole.update(sha256(one.document.encode()).digest() + sha256(one.cms).digest())
    return whole.digest()
