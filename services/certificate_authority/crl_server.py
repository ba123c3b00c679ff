"""The CRL server: /root.crl, /issuing.crl and the two certificates over plain HTTP, with conditional requests.

/root/7.crl is the CRL of that number for as long as we exist: a record names the CRLs that were consulted.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from hashlib import sha256
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.storage.errors import is_unavailable
from libs.storage.pool import Pool
from services.certificate_authority import store
from services.certificate_authority.crls import ISSUERS
from services.certificate_authority.issuance import Profile

_CRL: Final = "application/pkix-crl"
_CERTIFICATE: Final = "application/pkix-cert"
"""RFC 2585 section 4."""

_CRL_CACHING: Final = "public, no-cache"
"""Kept by whoever likes, asked about every time: a revocation is to be seen at once, and a 304 costs nothing."""

_ARCHIVE_CACHING: Final = "public, max-age=31536000, immutable"

_CERTIFICATE_CACHING: Final = "public, max-age=86400"

_MAX_NUMBER: Final = 2**63 - 1
"""What the database's column holds."""

Endpoint = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger()


class File:
    """What one address serves."""

    def __init__(self, body: bytes, media_type: str, modified: datetime, caching: str, number: int = 0) -> None:
        self.body = body
        self.media_type = media_type
        self.number = number
        self.headers = {
            "ETag": f'"{sha256(body).hexdigest()}"',
            "Last-Modified": format_datetime(modified, usegmt=True),
            "Cache-Control": caching,
        }


class CrlServer:
    """Answers from the database, so that replicas agree; from memory while it is away, since a CRL has its own end."""

    def __init__(self, pool: Pool, certificates: Mapping[Profile, x509.Certificate]) -> None:
        self._pool = pool
        self._crls: dict[Profile, File] = {}
        self._certificates = {
            issuer: File(
                certificates[issuer].public_bytes(Encoding.DER),
                _CERTIFICATE,
                certificates[issuer].not_valid_before_utc,
                _CERTIFICATE_CACHING,
            )
            for issuer in ISSUERS
        }
        routes = [
            Route(f"/{issuer}.{kind}", endpoint(issuer), methods=["GET"])
            for issuer in ISSUERS
            for kind, endpoint in (("crl", self._crl), ("cer", self._certificate))
        ]
        routes += [
            Route(f"/{issuer}/{{number:int}}.crl", self._archived(issuer), methods=["GET"]) for issuer in ISSUERS
        ]
        self.app = Starlette(routes=routes)

    def _certificate(self, issuer: Profile) -> Endpoint:
        async def answer(request: Request) -> Response:
            return respond(request.headers, self._certificates[issuer])

        return answer

    def _crl(self, issuer: Profile) -> Endpoint:
        async def answer(request: Request) -> Response:
            file = await self._newest(issuer)
            return Response(status_code=503) if file is None else respond(request.headers, file)

        return answer

    def _archived(self, issuer: Profile) -> Endpoint:
        async def answer(request: Request) -> Response:
            number = request.path_params["number"]
            if not 0 < number <= _MAX_NUMBER:
                return Response(status_code=404)
            try:
                async with self._pool.acquire() as connection:
                    found = await store.archived_crl(connection, issuer, number)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                return Response(status_code=503)
            if found is None:
                return Response(status_code=404)
            der, this_update = found
            return respond(request.headers, File(der, _CRL, this_update, _ARCHIVE_CACHING, number))

        return answer

    async def _newest(self, issuer: Profile) -> File | None:
        known = self._crls.get(issuer)
        try:
            async with self._pool.acquire() as connection:
                head = await store.crl_head(connection, issuer)
                if head is None or (known is not None and known.number >= head.number):
                    return known
                der = await store.crl_der(connection, issuer, head.number)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("serving the crl from memory", issuer=issuer)
            return known
        file = self._crls[issuer] = File(der, _CRL, head.this_update, _CRL_CACHING, head.number)
        return file


def respond(asked: Headers, file: File) -> Response:
    """The file, or 304 when the client has it (RFC 9110 section 13.2.2: If-None-Match goes first)."""
    if _has(asked, file.headers):
        return Response(status_code=304, headers=file.headers)
    return Response(file.body, media_type=file.media_type, headers=file.headers)


def _has(asked: Headers, headers: Mapping[str, str]) -> bool:
    tags = asked.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or headers["ETag"] in {tag.strip().removeprefix("W/") for tag in tags.split(",")}
    try:
        since = parsedate_to_datetime(asked.get("if-modified-since", ""))
        return parsedate_to_datetime(headers["Last-Modified"]) <= since
    except (ValueError, TypeError):
        return False  # no date, or one without a zone: as if it was not asked
