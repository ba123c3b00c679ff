"""Issuing: what a registrar signed becomes one certificate, whatever happens meanwhile."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.cloudevents import encode
from libs.contracts.enrolment import CertificateRequested, credential_id_of
from libs.crypto.certificates import certificate_facts
from libs.runtime.clock import utc_now
from tests.integration.certificate_authority.conftest import Authority, crl, openssl, trust
from tests.integration.hsm.softhsm import USER_PIN, SoftHsm
from tests.support.applications import application, certificate_requested, csr, revocation_requested
from tests.support.pki import p256_key, rsa_key
from tests.support.stack import WITH_US
from tests.support.waiting import eventually


async def send(authority: Authority, *events: CertificateRequested) -> None:
    await authority.room.send(authority.routes.certificate_requested, events)


async def handled(authority: Authority, count: int) -> None:
    await authority.room.all_committed(authority.routes.certificate_requested, count)
    await authority.tap.read()


async def test_an_application_becomes_a_certificate_that_openssl_believes(authority: Authority, tmp_path: Path) -> None:
    wanted = [application(), application(algorithm="p-256")]
    requests = [
        certificate_requested(wanted[0], authority.registrar),
        certificate_requested(wanted[1], authority.registrar, p256_key()),
    ]
    async with authority.running() as client:
        await send(authority, *requests)
        states = {state.user: state for state in await authority.certified(2)}
        crls = [(await client.get(f"/{issuer}.crl")).content for issuer in ("root", "issuing")]
    (tmp_path / "trust.pem").write_bytes(trust(authority, *crls))
    for asked in wanted:
        state = states[asked.user]
        assert (state.version, state.status, state.medium) == (1, "good", "roaming-otp")
        assert state.credential_id == credential_id_of(asked)
        assert state.issuer == authority.pem("issuing.pem").public_bytes(Encoding.DER)
        certificate = x509.load_der_x509_certificate(state.certificate)
        assert certificate.subject.rfc4514_string().startswith(f"2.5.4.5={asked.user},CN={asked.name},")
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert points[0].full_name[0].value == "http://crl.example/gpki/issuing.crl"
        (tmp_path / "leaf.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        judged = openssl(
            *("verify", "-x509_strict", "-crl_check_all", "-CAfile", tmp_path / "trust.pem", tmp_path / "leaf.pem")
        )
        assert judged.returncode == 0, judged.stderr


async def test_ten_repeats_give_one_certificate_and_the_same_bytes(authority: Authority) -> None:
    event = certificate_requested(application(), authority.registrar)
    renamed = encode(authority.routes.certificate_requested, event, source="test", time=utc_now())
    headers = [(name, b"another-id" if name == "ce_id" else value) for name, value in renamed.headers]
    async with authority.running():
        await send(authority, *[event] * 5)
        await authority.certified(1)
        await send(authority, *[event] * 5)
        await authority.room.send(authority.routes.certificate_requested, [replace(renamed, headers=tuple(headers))])
        await handled(authority, 11)
    assert await authority.issued() == 1
    assert len({state.certificate for state in authority.certificates()}) == 1
    assert len(authority.certificates()) == 1


async def test_what_no_registrar_signed_ends_nothing(authority: Authority) -> None:
    """The dead letter takes it, and the true request of the same application is answered."""
    wanted, thief, key = application(), Ed25519PrivateKey.generate(), rsa_key()
    forged = [
        certificate_requested(wanted, thief, by=None),
        certificate_requested(wanted, thief, by=key_id_of(authority, "registrar", "mygpki")),
        certificate_requested(wanted, thief, by=key_id_of(authority, "caller", "igfmas")),
    ]
    async with authority.running():
        await send(authority, *forged)
        await handled(authority, 3)
        assert await authority.issued() == 0
        await send(authority, certificate_requested(wanted, authority.registrar, key))
        (state,) = await authority.certified(1)
    assert x509.load_der_x509_certificate(state.certificate).public_key() == key.public_key()
    assert authority.dead_letters(authority.routes.certificate_requested) == ["not-signed-by-two-administrators"] * 3
    assert authority.refusals() == []


async def test_a_request_with_another_keys_proof_is_refused(authority: Authority) -> None:
    mine, other = csr(rsa_key()), csr(rsa_key())
    signature = x509.load_der_x509_csr(other).signature
    wanted = application()
    async with authority.running():
        await send(
            authority, certificate_requested(wanted, authority.registrar, csr=mine[: -len(signature)] + signature)
        )
        await authority.tap.until(authority.refusals, "the refusal")
    (refusal,) = authority.refusals()
    assert (refusal.application, refusal.user) == (wanted.application, wanted.user)
    assert (refusal.stage, "no proof" in refusal.detail) == ("certificate_authority", True)
    assert await authority.issued() == 0


async def test_one_certificate_per_credential_key_and_officer(authority: Authority) -> None:
    key, first = rsa_key(), application()
    second, stranger = application(first.user), application()
    async with authority.running():
        await send(authority, certificate_requested(first, authority.registrar, key))
        (state,) = await authority.certified(1)
        again = encode(
            authority.routes.certificate_requested,
            certificate_requested(first, authority.registrar, rsa_key()),
            source="test",
            time=utc_now(),
        )
        headers = tuple((n, b"another-id" if n == "ce_id" else v) for n, v in again.headers)
        await authority.room.send(authority.routes.certificate_requested, [replace(again, headers=headers)])
        await send(authority, certificate_requested(second, authority.registrar))
        await send(authority, certificate_requested(stranger, authority.registrar, key))
        await authority.tap.until(lambda: len(authority.refusals()) >= 3, "three refusals")
        assert await authority.issued() == 1
        details = {refusal.application: refusal.detail for refusal in authority.refusals()}
        assert "of another key" in details[first.application]
        assert "not revoked" in details[second.application]
        assert "in another name" in details[stranger.application]
        # After revocation the officer may have another.
        third = application(first.user)
        await authority.room.send(
            authority.routes.revocation_requested, [revocation_requested(state.credential_id, authority.registrar)]
        )
        await authority.certified(2)
        await send(authority, certificate_requested(third, authority.registrar))
        await authority.certified(3)
    assert await authority.issued() == 2


async def test_killed_between_signing_and_recording_there_is_one_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    """I-sign-once: what was reserved before the signature is what the replay signs."""
    event = certificate_requested(application(), authority.registrar)
    await send(authority, event)
    known = authority.settings
    secrets = {
        "kafka_password": known.kafka_password.get_secret_value(),
        "postgres_password": known.postgres_password.get_secret_value(),
        "hsm_pin": USER_PIN.get_secret_value(),
        "producer_key": known.producer_key.get_secret_value().decode(),
    }
    for name, secret in secrets.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(secret)
    settings = {
        f"GPKI_{name.upper()}": str(getattr(authority.settings, name))
        for name in ("service", "kafka_bootstrap", "kafka_user", "postgres_host", "postgres_port", "postgres_user")
    } | {
        f"GPKI_{name.upper()}": str(getattr(authority.settings, name))
        for name in ("pki_dir", "health_port", "pkcs11_module", "pkcs11_token_label", "crl_port", "crl_base_url")
    }
    process = await asyncio.create_subprocess_exec(
        *(*WITH_US, sys.executable, "-m", "tests.integration.certificate_authority.replica"),
        json.dumps({name: topic.name for name, topic in vars(authority.routes).items()}),
        env={**os.environ, **settings, "GPKI_SECRETS_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == -signal.SIGKILL, said.decode()
    reserved = await authority.room.pool.fetch("select serial, certificate from certificate where profile = 'officer'")
    assert [row["certificate"] for row in reserved] == [None]
    async with authority.running():
        (state,) = await authority.certified(1)
    serial = x509.load_der_x509_certificate(state.certificate).serial_number
    assert serial == int.from_bytes(reserved[0]["serial"], "big")
    assert await authority.issued() == 1


async def test_without_the_hsm_a_request_waits_and_nothing_is_answered(authority: Authority, token: SoftHsm) -> None:
    await send(authority, certificate_requested(application(), authority.registrar))
    away = token.tokens.with_name("away")
    async with authority.running() as client:
        await authority.certified(1)
        token.tokens.rename(away)
        try:
            await send(authority, certificate_requested(application(), authority.registrar))
            await eventually(lambda: authority.waits_for("hsm"), "the replica waits")
            await authority.tap.read()
            assert await authority.issued() == 2  # reserved
            assert (await client.get("/issuing.crl")).status_code == 200
            assert len(authority.certificates()) == 1
            assert authority.refusals() == []
        finally:
            away.rename(token.tokens)
        await authority.certified(2)
        assert len(await crl(client)) == 0
    assert authority.dead_letters(authority.routes.certificate_requested) == []


def key_id_of(authority: Authority, purpose: str, owner: str) -> str:
    der = authority.pem(f"certificates/{purpose}/{owner}.pem").public_bytes(Encoding.DER)
    return certificate_facts(der).spki_sha256.hex()
