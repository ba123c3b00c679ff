"""Officers who sign with a token of their own, enrolled as the registrar does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from libs.contracts import manifest as contracts
from libs.contracts.state import Certificate
from libs.gpki_client import Manifest
from libs.gpki_client.clock import Clock, utc_now
from libs.gpki_client.token import OfficerToken
from services.igfmas.enrolment import Officer
from tests.support.chain import Client, Request, papers
from tests.support.officer_token import LABEL, MODULE, PIN, TokenFolder


@asynccontextmanager
async def opened(folder: TokenFolder, key_label: str) -> AsyncIterator[OfficerToken]:
    """The token, logged in, with one of its keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", folder.conf)
        async with await OfficerToken.open(MODULE, LABEL, PIN, key_label=key_label) as token:
            yield token


@dataclass(frozen=True)
class TokenOfficer:
    """An officer with the certificate of a token's key."""

    officer: Officer
    certificate: Certificate

    @classmethod
    async def enrol(cls, client: Client, token: OfficerToken) -> "TokenOfficer":
        """Apply with this token's own request, and wait for the certificate."""
        officer = client.new_officer()
        return cls(officer, await client.desk.enrol_token(officer, token))

    async def asked(self, client: Client, count: int) -> Request:
        """A request of so many documents, which waits for the token."""
        request = await client.press(self.officer, papers(count))
        async for event in client.gateway.follow(request.id, self.officer.user):
            if event.kind == "medium-resolved":
                break
        return request

    async def signatures(
        self, token: OfficerToken, manifest: Manifest | contracts.Manifest, *, clock: Clock = utc_now
    ) -> dict[str, bytes]:
        """The CMS of every document, in this officer's name."""
        asked = manifest if isinstance(manifest, Manifest) else Manifest.from_json(manifest.model_dump(mode="json"))
        known = self.certificate
        return await token.sign_manifest(asked, known.certificate, [known.issuer], clock=clock)
