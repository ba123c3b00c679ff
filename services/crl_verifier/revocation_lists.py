"""The CRLs that are believed now: fetched in the background and on demand, never older than one seen."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import httpx
import structlog

from libs.crypto.crl import CrlIndex, CrlInvalid
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.runtime.executor import Offload
from libs.runtime.health import Health
from libs.storage.errors import is_unavailable
from libs.storage.pool import Pool
from services.crl_verifier import store
from services.crl_verifier.authorities import Authority
from services.crl_verifier.download import DownloadFailed, Fetched, fetch

SERVICE = "crl_verifier"

RETRY = 2.0
"""Seconds between two looks while a CRL is missing or stale."""

ON_DEMAND = 1.0
"""Seconds that a document without a current CRL waits for a look, and between two looks that documents ask for."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Known:
    """What recognises a CRL that is believed already; its bytes are not kept in memory."""

    etag: str | None
    last_modified: str | None
    digest: bytes


_UNKNOWN = _Known(None, None, b"")


class RevocationLists:
    """One current CRL per authority, replaced whole. For one event loop; `current` may be read by any thread."""

    def __init__(
        self,
        authorities: Sequence[Authority],
        *,
        base_url: str,
        client: httpx.AsyncClient,
        pool: Pool,
        offload: Offload,
        health: Health,
        clock: Clock,
    ) -> None:
        self._authorities = authorities
        self._base_url = base_url
        self._client = client
        self._pool = pool
        self._offload = offload
        self._health = health
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._look: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self.current: Mapping[bytes, CrlIndex] = {}
        """By issuer key id; never changed in place."""

    async def load(self) -> None:
        """Believe what was kept before, so that a start needs no CRL server."""
        for authority in self._authorities:
            await self._load(authority)
        self._report()

    async def run(self, interval: float) -> None:
        """Look for newer CRLs until cancelled."""
        while True:
            await self._shared_look()
            await asyncio.sleep(RETRY if self._outdated(self._clock()) else interval)

    async def look(self) -> None:
        """Look now, because a document needs it; returns within ON_DEMAND seconds, whatever came of it."""
        if time.monotonic() - self._looked_at >= ON_DEMAND:
            await asyncio.wait({self._shared_look()}, timeout=ON_DEMAND)

    async def stop(self) -> None:
        """End a look that is under way."""
        if self._look is not None:
            self._look.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._look

    def _shared_look(self) -> "asyncio.Task[None]":
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_at_all())
        return self._look

    async def _look_at_all(self) -> None:
        for authority in self._authorities:
            try:
                await self._refresh(authority)
            except DownloadFailed as error:
                log.warning("crl not fetched", authority=authority.name, why=str(error))
            except Exception as error:  # noqa: BLE001 (the look goes on with the others, and is repeated)
                if not is_unavailable(error):
                    metrics.alarm(SERVICE, "crl-look-failed", authority=authority.name, error=type(error).__name__)
                log.warning("crl not kept", authority=authority.name, error=type(error).__name__)
        self._looked_at = time.monotonic()
        self._report()

    async def _refresh(self, authority: Authority) -> None:
        known = self._known.get(authority.name, _UNKNOWN)
        url = f"{self._base_url}/{authority.name}.crl"
        fetched = await fetch(self._client, url, known.etag, known.last_modified)
        if fetched is None or sha256(fetched.der).digest() == known.digest:
            return
        index = await self._judge(authority, fetched)
        if index is not None and await store.keep(self._pool, authority.key_id, fetched, index):
            self._believe(authority, fetched, index)
        elif index is not None:
            await self._load(authority)  # a twin was faster, with a newer one

    async def _load(self, authority: Authority) -> None:
        kept = await store.load(self._pool, authority.key_id)
        index = await self._judge(authority, kept) if kept else None
        if kept is not None and index is not None:
            self._believe(authority, kept, index)

    async def _judge(self, authority: Authority, fetched: Fetched) -> CrlIndex | None:
        """The index of a CRL that may be believed, else None and an alarm."""
        try:
            index = await self._offload(CrlIndex.parse, fetched.der, authority.certificate)
        except CrlInvalid as error:
            metrics.alarm(SERVICE, "crl-invalid", authority=authority.name, why=str(error))
            return None
        seen = self.current.get(authority.key_id)
        if seen is not None and (index.number, index.this_update) < (seen.number, seen.this_update):
            metrics.alarm(SERVICE, "crl-older-than-seen", authority=authority.name, number=index.number)
            return None
        return index

    def _believe(self, authority: Authority, fetched: Fetched, index: CrlIndex) -> None:
        self.current = {**self.current, authority.key_id: index}
        self._known[authority.name] = _Known(fetched.etag, fetched.last_modified, sha256(fetched.der).digest())
        log.info("crl", authority=authority.name, number=index.number, entries=len(index))

    def _outdated(self, now: datetime) -> list[str]:
        found = ((authority.name, self.current.get(authority.key_id)) for authority in self._authorities)
        return [name for name, crl in found if crl is None or now > crl.next_update]

    def _report(self) -> None:
        outdated = self._outdated(self._clock())
        self._health.set("crl", ok=not outdated, detail=", ".join(outdated))
