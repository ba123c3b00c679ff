"""A token over a connection that is not its caller's opens nothing, whoever has it, and whatever the request says."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

import httpx
import pytest
from starlette.datastructures import Headers

from libs.contracts.problems import ProblemCode
from libs.crypto.pki import OID_CLIENT_AUTH, SERVICE_PROFILES, ServicePurpose
from services.gateway import access, api
from services.gateway.authentication import connected_key
from tests.integration.gateway.conftest import Door, code_of
from tests.support.pki import Identity, Pki
from tests.support.requests import Caller, key_state, new_user

HEADERS = ("X-Client-Cert", "X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "Client-Cert", "SSL-Client-Certificate")
"""Names under which proxies tell of a client's certificate (RFC 9440 and others): none means anything here."""


def calls(door: Door, token: str, **more: str) -> dict[str, Any]:
    """A call of a caller that changes nothing."""
    return {"url": f"/v1/signings/{uuid4()}", "headers": {"Authorization": f"Bearer {token}", **more}}


async def etanah(door: Door) -> Caller:
    """Another caller, in good standing."""
    other = door.pki.caller("etanah", system="eTanah")
    await door.tell(key_state(other, "caller", "etanah", door.pki))
    return other


@pytest.mark.parametrize("thief", ["another caller", "who has no certificate"])
async def test_a_stolen_token_is_worth_nothing_over_anothers_connection(
    door: Door, monkeypatch: pytest.MonkeyPatch, thief: str
) -> None:
    """I-59: it is not even used up, so that its caller's own call is not in vain."""
    connection = await door.connections.of(await etanah(door) if thief == "another caller" else None)
    token = door.token(new_user())
    answer = await connection.get(**calls(door, token))
    assert code_of(answer) is ProblemCode.UNAUTHORISED
    assert (await door.http.get(**calls(door, token))).status_code == 404, "admitted, and there is no such request"
    monkeypatch.setattr(access, "require_connection", lambda *_: None)
    assert (await connection.get(**calls(door, door.token(new_user())))).status_code == 404


async def test_no_header_stands_for_a_certificate(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-59: certificates are no secret, so that who has a stolen token has its caller's certificate as well."""
    nobody, pem = await door.connections.of(None), door.caller.pem.decode()
    written = (
        quote(pem),
        pem.replace("\n", " ").strip(),
        f'Hash=1;Cert="{quote(pem)}"',
        f":{''.join(pem.split()[2:-2])}:",
    )

    async def told() -> set[int]:
        return {
            (await nobody.get(**calls(door, door.token(new_user()), **{name: value}))).status_code
            for name in HEADERS
            for value in written
        }

    assert await told() == {401}

    def believes(scope: Any) -> str | None:
        shown = unquote(Headers(scope=scope).get("x-client-cert", ""))
        return connected_key({"extensions": {"tls": {"client_cert_chain": [shown]}}} if shown == pem else scope)

    monkeypatch.setattr(api, "connected_key", believes)
    assert await told() == {401, 404}


@pytest.mark.parametrize("purpose", [ServicePurpose.PRODUCER, ServicePurpose.REGISTRAR])
async def test_a_certificate_of_another_purpose_opens_no_connection(
    door: Door, monkeypatch: pytest.MonkeyPatch, purpose: ServicePurpose
) -> None:
    """OpenSSL asks for `clientAuth`, which callers' certificates alone have; where others had it, it would do."""

    async def connects(identity: Identity[Any]) -> bool:
        async with httpx.AsyncClient(
            base_url=door.http.base_url, verify=door.tls.client(identity), trust_env=False
        ) as http:
            try:
                return (await http.get("/v1/sealing-key")).status_code == 401
            except httpx.TransportError:
                return False

    made = {ServicePurpose.PRODUCER: door.pki.producer, ServicePurpose.REGISTRAR: door.pki.registrar}[purpose]
    assert await connects(door.pki.caller())
    assert not await connects(made("enrolment"))
    assert not await connects(Pki(now=door.pki.now).caller()), "of another root"
    assert not await connects(door.pki.officer())
    careless = SERVICE_PROFILES[ServicePurpose.CALLER].beside
    assert careless == {OID_CLIENT_AUTH}
    monkeypatch.setitem(SERVICE_PROFILES, purpose, replace(SERVICE_PROFILES[purpose], beside=careless))
    assert await connects(made("enrolment"))
