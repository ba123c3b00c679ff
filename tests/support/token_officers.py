"""Officers who sign with a token of their own, enrolled as the registrar does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

import pytest

from libs.contracts import manifest as contracts
from libs.contracts import topics
from libs.contracts.enrolment import (
    SignedTokenApplication,
    TokenApplication,
    TokenApplicationSubmitted,
    credential_id_of,
    token_application_signature_input,
)
from libs.contracts.state import Certificate
from libs.crypto.pki import distinguished_name
from libs.gpki_client import Manifest
from libs.gpki_client.clock import Clock, utc_now
from libs.gpki_client.token import OfficerToken
from services.igfmas.enrolment import Officer
from tests.support.chain import Client
from tests.support.officer_token import LABEL, MODULE, PIN, TokenFolder

SECONDS = 60


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
        csr = await token.certification_request(distinguished_name(officer.name))
        application = TokenApplication(
            application=officer.application,
            user=officer.user,
            name=officer.name,
            email=officer.email,
            office=officer.office,
            csr_sha256=sha256(csr).hexdigest(),
        )
        signed = SignedTokenApplication(
            application=application,
            registrar_key=client.registrar.key_id,
            signature=client.registrar.sign(token_application_signature_input(application)),
        )
        chain, credential = client.chain, credential_id_of(application)
        await chain.send(topics.TOKEN_APPLICATION_SUBMITTED, TokenApplicationSubmitted(signed=signed, csr=csr))

        def known() -> bool:
            user = chain.users.get(officer.user)
            return user is not None and user.credential_id == credential and credential in chain.certificates

        await chain.wait(known, "the token's certificate", seconds=SECONDS)
        return cls(officer, chain.certificates[credential])

    async def signatures(
        self, token: OfficerToken, manifest: Manifest | contracts.Manifest, *, clock: Clock = utc_now
    ) -> dict[str, bytes]:
        """The CMS of every document, in this officer's name."""
        asked = manifest if isinstance(manifest, Manifest) else Manifest.from_json(manifest.model_dump(mode="json"))
        known = self.certificate
        return await token.sign_manifest(asked, known.certificate, [known.issuer], clock=clock)
