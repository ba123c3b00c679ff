"""Fetch a CRL over HTTP: conditional, bounded in size and time, no redirects."""

import asyncio
from dataclasses import dataclass

import httpx

MAX_CRL_BYTES = 64 * 1024 * 1024
"""A million entries take 25 to 40 MB."""

FETCH_TIMEOUT = 20.0
"""Seconds for one CRL, whole."""


class DownloadFailed(Exception):
    """The CRL server could not be asked, or did not answer with a CRL; the text says how."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A CRL as it was served, with the validators that ask for it again."""

    der: bytes
    etag: str | None
    last_modified: str | None


def http_client() -> httpx.AsyncClient:
    """A client for `fetch`; the caller closes it."""
    return httpx.AsyncClient(timeout=httpx.Timeout(5.0), follow_redirects=False, trust_env=False)


async def fetch(client: httpx.AsyncClient, url: str, etag: str | None, last_modified: str | None) -> Fetched | None:
    """The CRL, or None when it is still that of these validators (RFC 9110 section 13). Raises DownloadFailed."""
    headers = {"Accept": "application/pkix-crl", "Accept-Encoding": "identity"}
    if etag:
        headers["If-None-Match"] = etag
    if last_modified:
        headers["If-Modified-Since"] = last_modified
    try:
        async with asyncio.timeout(FETCH_TIMEOUT), client.stream("GET", url, headers=headers) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return None
            if response.status_code != httpx.codes.OK:
                raise DownloadFailed(f"HTTP {response.status_code}")
            der = bytearray()
            async for part in response.aiter_raw():
                der += part
                if len(der) > MAX_CRL_BYTES:
                    raise DownloadFailed(f"longer than {MAX_CRL_BYTES} bytes")
            return Fetched(bytes(der), _validator(response, "ETag"), _validator(response, "Last-Modified"))
    except (httpx.HTTPError, TimeoutError) as error:
        raise DownloadFailed(type(error).__name__) from error


def _validator(response: httpx.Response, name: str) -> str | None:
    """What can be sent back as it came: anything else would be kept, and no CRL be asked for again."""
    value = response.headers.get(name)
    return value if value is not None and value.isascii() else None
