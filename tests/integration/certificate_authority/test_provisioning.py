"""`init`, the keys in the token, the published service keys, and the CRL server."""

import signal
from datetime import timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11 import ObjectClass

from libs.bus.trust import key_trust, read_service_root, usable_key
from libs.contracts.state import Key
from libs.crypto.public_keys import public_key_id
from libs.hsm.hsm import Hsm
from libs.runtime.clock import utc_now
from services.certificate_authority import handlers
from services.certificate_authority.hsm_token import NotProvisioned
from services.certificate_authority.issuance import AUTHORITIES, Profile
from services.certificate_authority.provisioning import RequestRefused
from tests.integration.certificate_authority.conftest import LABEL, Authority, crl, openssl
from tests.integration.hsm.softhsm import MODULE, USER_PIN
from tests.support.pki import p256_key, rsa_key

FILES = ("root.pem", "issuing.pem", "service_root.pem")


def files(authority: Authority) -> dict[str, bytes]:
    root = authority.settings.pki_dir
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*.pem")}


async def test_the_authorities_are_two_trees_with_the_keys_that_were_decided(authority: Authority) -> None:
    root, issuing, service_root = (authority.pem(name) for name in FILES)
    keys = [certificate.public_key() for certificate in (root, issuing, service_root)]
    assert [key.key_size for key in keys if isinstance(key, rsa.RSAPublicKey)] == [3072, 3072]
    assert isinstance(keys[2], ec.EllipticCurvePublicKey)
    assert isinstance(keys[2].curve, ec.SECP256R1)
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)
    service_root.verify_directly_issued_by(service_root)
    paths = [authority.settings.pki_dir / name for name in FILES]
    assert openssl("verify", "-x509_strict", "-CAfile", paths[0], paths[1]).returncode == 0
    assert openssl("verify", "-x509_strict", "-CAfile", paths[2], paths[1]).returncode != 0


@pytest.mark.parametrize("authority_name", AUTHORITIES)
async def test_attribute_dump_shows_keys_that_cannot_leave_the_token(
    authority: Authority, authority_name: Profile
) -> None:
    hsm = await Hsm.open(MODULE, LABEL, USER_PIN)
    try:
        dump = await hsm.attributes(ObjectClass.PRIVATE_KEY, AUTHORITIES[authority_name].label)
    finally:
        await hsm.aclose()
    confined = {"TOKEN", "PRIVATE", "SENSITIVE", "LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "SIGN"}
    assert {name for name, value in dump.items() if value is True} == confined
    assert dump["EXTRACTABLE"] is False


async def test_init_again_changes_nothing(authority: Authority) -> None:
    before = files(authority)
    rows = await authority.room.pool.fetch("select * from certificate order by serial")
    crls = await authority.room.pool.fetch("select * from crl order by issuer, number")
    await authority.init()
    assert files(authority) == before
    assert await authority.room.pool.fetch("select * from certificate order by serial") == rows
    assert await authority.room.pool.fetch("select * from crl order by issuer, number") == crls


async def test_init_beside_the_service_certifies_a_new_caller_that_is_then_published(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "KEYS_EVERY", timedelta(milliseconds=200))
    first = await published(authority, 4)
    assert {key.owner for key in first} == {"mygpki", "mygpki-pengesah", "igfmas", "otp_dispatch"}
    # HSM access is one per process, so `init` runs here between two runs of the service.
    registrar = Ed25519PrivateKey.generate()
    authority.ask("registrar", "mygpki", registrar)
    await authority.init()
    keys = await published(authority, 6)
    old, new = public_key_id(authority.registrar.public_key()), public_key_id(registrar.public_key())
    states = {(key.key_id, key.version): key for key in keys}
    assert len(states) == len(keys) == 6  # what did not change was not said again
    assert states[old, 1].retired_at is None
    assert states[old, 2].retired_at is not None
    assert states[new, 1].retired_at is None
    root = read_service_root(authority.settings.pki_dir)
    assert all(key_trust(root)(key) for key in keys)
    at = utc_now() + timedelta(seconds=1)
    assert usable_key(states[old, 2], root, at) is None
    identity = usable_key(states[new, 1], root, at)
    assert identity is not None
    assert (identity.name, identity.public_key) == ("mygpki", registrar.public_key())


async def published(authority: Authority, count: int) -> list[Key]:
    """Run the service until so many different key states are out."""
    async with authority.running():
        await authority.tap.until(
            lambda: len({(key.key_id, key.version) for key in authority.key_states()}) >= count, f"{count} key states"
        )
    await authority.tap.read()
    return authority.key_states()


async def test_a_callers_certificate_names_its_system_and_a_caller_without_one_is_refused(
    authority: Authority,
) -> None:
    subject = authority.pem("certificates/caller/igfmas.pem").subject.rfc4514_string()
    assert subject == "CN=igfmas,OU=iGFMAS,O=Kerajaan Malaysia,C=MY"
    authority.ask("caller", "stranger", Ed25519PrivateKey.generate())
    with pytest.raises(RequestRefused, match="stranger"):
        await authority.init()


async def test_a_replaced_key_does_not_come_back(authority: Authority) -> None:
    authority.ask("registrar", "mygpki", Ed25519PrivateKey.generate())
    await authority.init()
    authority.ask("registrar", "mygpki", authority.registrar)
    with pytest.raises(RequestRefused, match="does not come back"):
        await authority.init()


@pytest.mark.parametrize(
    ("purpose", "key"),
    [("producer", p256_key()), ("producer", rsa_key()), ("sealing-authority", Ed25519PrivateKey.generate())],
)
async def test_a_key_that_its_purpose_forbids_is_refused(authority: Authority, purpose: str, key: object) -> None:
    authority.ask(purpose, "newcomer", key)
    with pytest.raises(RequestRefused, match="newcomer"):
        await authority.init()


async def test_one_key_has_one_purpose(authority: Authority) -> None:
    authority.ask("caller", "igfmas", authority.registrar)
    with pytest.raises(RequestRefused, match="in another name"):
        await authority.init()


async def test_a_request_that_proves_nothing_is_refused(authority: Authority) -> None:
    (authority.settings.pki_dir / "requests" / "caller" / "igfmas.csr.pem").write_text("-----BEGIN NOTHING-----")
    with pytest.raises(RequestRefused, match="no valid certification request"):
        await authority.init()


async def test_certificates_over_keys_that_the_token_has_not_stop_the_service(authority: Authority) -> None:
    """A token made anew beside an old database: nothing is signed, nothing is made anew."""
    other = authority.pem("issuing.pem").public_bytes(Encoding.DER)
    await authority.room.pool.execute("update certificate set certificate = $1 where profile = 'root'", other)
    with pytest.raises(NotProvisioned, match="GPKI Root CA"):
        async with authority.running():
            pass
    with pytest.raises(NotProvisioned, match="GPKI Root CA"):
        await authority.init()


async def test_before_init_the_service_does_not_start(authority: Authority) -> None:
    await authority.room.pool.execute("delete from certificate where profile = 'issuing'")
    with pytest.raises(NotProvisioned, match=r"run `python -m services\.certificate_authority\.provisioning`"):
        async with authority.running():
            pass


async def test_the_crl_server_answers_conditional_requests(authority: Authority) -> None:
    async with authority.running() as client:
        for name in ("root.crl", "issuing.crl", "root.cer", "issuing.cer"):
            full = await client.get(f"/{name}")
            assert (full.status_code, full.headers["content-length"]) == (200, str(len(full.content)))
            assert full.headers["content-type"] == f"application/pkix-{'crl' if name.endswith('crl') else 'cert'}"
            for condition in (
                {"If-None-Match": full.headers["etag"]},
                {"If-Modified-Since": full.headers["last-modified"]},
            ):
                kept = await client.get(f"/{name}", headers=condition)
                assert (kept.status_code, kept.content) == (304, b"")
                assert kept.headers["etag"] == full.headers["etag"]
            head = await client.head(f"/{name}")
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(full.content))
        assert (await client.get("/issuing.cer")).content == authority.pem("issuing.pem").public_bytes(Encoding.DER)
        assert (await client.get("/officers.crl")).status_code == 404
        assert (await client.get("/service-root.crl")).status_code == 404
        assert (await client.post("/issuing.crl", content=b"x")).status_code == 405
        parsed = x509.load_der_x509_crl((await client.get("/issuing.crl")).content)
        assert (
            parsed.last_update_utc.strftime("%a, %d %b %Y %H:%M:%S GMT")
            == ((await client.get("/issuing.crl")).headers["last-modified"])
        )


async def test_the_crl_server_answers_while_the_database_is_away(authority: Authority) -> None:
    async with authority.running() as client:
        before = await crl(client)
        role, superuser = "posting", await authority.room.superuser()
        try:
            await superuser.execute(f"alter role {role} nologin")
            await superuser.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", role)
            during = await crl(client)
        finally:
            await superuser.execute(f"alter role {role} login")
            await superuser.close()
        assert during.number == before.number


async def test_the_crl_server_leaves_signals_to_the_process_and_its_port_is_free_afterwards(
    authority: Authority,
) -> None:
    handlers_before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with authority.running() as client:
        address = client.base_url
        assert (await client.get("/root.crl")).status_code == 200
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers_before
    async with httpx.AsyncClient(base_url=address) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/root.crl")


async def test_a_callers_certificate_names_the_offices_that_it_is_limited_to(authority: Authority) -> None:
    key = Ed25519PrivateKey.generate()
    authority.settings = authority.settings.model_copy(
        update={
            "caller_systems": {"selangor": "eSelangor"},
            "caller_offices": {"selangor": frozenset({"AG-SA-02", "AG-SA-01"})},
        }
    )
    (authority.settings.pki_dir / "requests" / "caller" / "igfmas.csr.pem").unlink()
    authority.ask("caller", "selangor", key)
    await authority.init()
    states = {state.key_id: state for state in await published(authority, count=4)}
    root = read_service_root(authority.settings.pki_dir)
    known = usable_key(states[public_key_id(key.public_key())], root, utc_now())
    assert known is not None
    assert known.offices == {"AG-SA-01", "AG-SA-02"}

    authority.settings = authority.settings.model_copy(update={"caller_offices": {}})
    with pytest.raises(RequestRefused, match="for other offices"):
        await authority.init()
