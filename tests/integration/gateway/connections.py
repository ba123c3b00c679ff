"""Who calls the gateway: each caller with its own certificate, and a new token for each call."""

from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import jwt

from libs.runtime.clock import utc_now
from services.gateway.authentication import key_id_of
from tests.support.requests import Caller, key_id
from tests.support.tls import Tls

PATIENCE = 60.0
"""Seconds for an answer, and between two rows of a stream: the client's own 5 are less than a row of the timeline may
take while the group is rebalanced."""


class Connections(AsyncExitStack):
    """Connections to one gateway, closed in the end."""

    def __init__(self, url: str, tls: Tls) -> None:
        super().__init__()
        self._url = url
        self._tls = tls
        self._callers: dict[str, Caller] = {}
        self._made: dict[str | None, httpx.AsyncClient] = {}

    async def of(self, caller: Caller | None) -> httpx.AsyncClient:
        """This caller's connections; without one those of who has no certificate."""
        name = None if caller is None else key_id(caller)
        if name not in self._made:
            tls = self._tls.client(caller)
            made = httpx.AsyncClient(base_url=self._url, verify=tls, trust_env=False, timeout=PATIENCE)
            self._made[name] = await self.enter_async_context(made)
        return self._made[name]

    async def for_token(self, token: str | None) -> httpx.AsyncClient:
        """Those of the caller whose token this is; devices, and who has no token, have no certificate."""
        return await self.of(self._callers.get(key_id_of(token) or "") if token else None)

    def token(self, caller: Caller, user: str, **claims: Any) -> str:
        """A JWT for one call; a claim that is None is left out."""
        self._callers[key_id(caller)] = caller
        now = int(utc_now().timestamp())
        content = {"iss": "igfmas", "sub": user, "aud": "gpki-gateway", "iat": now, "exp": now + 50, "jti": uuid4().hex}
        made: dict[str, Any] = {name: value for name, value in (content | claims).items() if value is not None}
        return jwt.encode(made, caller.key, algorithm="EdDSA", headers={"kid": key_id(caller)})
