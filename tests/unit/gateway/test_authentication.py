"""A JWT admits its caller only if the caller's registered key signed it, for us, for now, and all of it is there."""

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceIdentity
from services.gateway.authentication import LEEWAY, MAX_LIFE, connected_key, judge, key_id_of
from tests.support.pki import Pki, p256_key, shared_rsa_key
from tests.support.requests import key_id

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
KEY_ID = "ab" * 32
USER = "800101145566"

ED = Ed25519PrivateKey.generate()
KEYS = {"EdDSA": ED, "ES256": p256_key(), "RS256": shared_rsa_key()}


def identity(key: Any = ED, **changed: Any) -> ServiceIdentity:
    values = {
        "name": "igfmas",
        "purpose": ServicePurpose.CALLER,
        "key_id": KEY_ID,
        "public_key": key.public_key(),
        "not_after": NOW + timedelta(days=1),
        "unit": "iGFMAS",
    }
    return ServiceIdentity(**(values | changed))


def claims(**changed: Any) -> dict[str, Any]:
    values = {"iss": "igfmas", "sub": USER, "aud": "gpki-gateway", "iat": AT, "exp": AT + 50, "jti": "j-1"} | changed
    return {name: value for name, value in values.items() if value is not None}


def token(content: dict[str, Any] | None = None, *, key: Any = ED, algorithm: str = "EdDSA", **header: Any) -> str:
    return jwt.encode(content or claims(), key, algorithm=algorithm, headers={"kid": KEY_ID, **header})


def raw(header: dict[str, Any], content: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(content).encode())}"
    return f"{signed}.{encode(sign(signed.encode()))}"


@pytest.mark.parametrize("algorithm", KEYS)
def test_each_kind_of_key_admits_its_caller(algorithm: str) -> None:
    key = KEYS[algorithm]
    made = token(key=key, algorithm=algorithm)
    assert key_id_of(made) == KEY_ID
    caller = judge(made, identity(key), NOW)
    assert caller is not None
    assert (caller.name, caller.user, caller.jti) == ("igfmas", USER, "j-1")
    assert caller.forget_at == NOW + timedelta(seconds=50) + LEEWAY


@pytest.mark.parametrize("named", KEYS)
@pytest.mark.parametrize("owned", KEYS)
def test_the_algorithm_follows_from_the_key_never_from_the_token(named: str, owned: str) -> None:
    made = token(key=KEYS[named], algorithm=named)
    assert (judge(made, identity(KEYS[owned]), NOW) is not None) == (named == owned)


def test_a_token_without_signature_or_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    spki = ED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("none", "None", "NONE", ""):
        assert judge(raw({"alg": algorithm, "kid": KEY_ID}, claims(), lambda _: b""), identity(), NOW) is None
    for secret in (spki, ED.public_key().public_bytes_raw(), b""):
        sign = partial(hmac.digest, secret, digest="sha256")
        forged = raw({"alg": "HS256", "kid": KEY_ID}, claims(), sign)
        assert judge(forged, identity(), NOW) is None
    assert judge(raw({"kid": KEY_ID}, claims(), ED.sign), identity(), NOW) is None


def test_what_is_altered_or_signed_by_another_key_is_refused() -> None:
    head, body, signature = token().split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims(sub="800101145567")).encode()).rstrip(b"=").decode()
    assert judge(f"{head}.{other}.{signature}", identity(), NOW) is None
    assert judge(f"{head}.{body}.", identity(), NOW) is None
    assert judge(token(key=Ed25519PrivateKey.generate()), identity(), NOW) is None


def test_a_key_that_is_not_usable_or_of_another_purpose_or_kind_admits_nobody() -> None:
    assert judge(token(), None, NOW) is None
    for purpose in ServicePurpose:
        admitted = judge(token(), identity(purpose=purpose), NOW) is not None
        assert admitted == (purpose is ServicePurpose.CALLER)
    p384 = generate_private_key(SECP384R1())
    assert judge(token(key=p384, algorithm="ES384"), identity(p384), NOW) is None


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "no issuer": {"iss": None},
    "no user": {"sub": None},
    "no audience": {"aud": None},
    "no end": {"exp": None},
    "no id": {"jti": None},
    "another issuer": {"iss": "other"},
    "another audience": {"aud": "other"},
    "several audiences": {"aud": ["gpki-gateway", "other"]},
    "a list of one audience": {"aud": ["gpki-gateway"]},
    "no kad pengenalan": {"sub": "somebody"},
    "a kad pengenalan and more": {"sub": USER + "\n"},
    "expired": {"iat": AT - 60, "exp": AT - 5},
    "too long a life": {"iat": None, "exp": AT + 66},
    "too long a life by its own words": {"iat": AT - 20, "exp": AT + 41},
    "from the future": {"iat": AT + 6, "exp": AT + 50},
    "not before a future moment": {"nbf": AT + 6},
    "issued after its end": {"iat": AT + 3, "exp": AT + 2},
    "an end that is a text": {"exp": str(AT + 50)},
    "an end that is no time": {"exp": True},
    "an end that is infinite": {"exp": float("inf")},
    "an end that is a fraction": {"exp": AT + 0.5},
    "an id that is a number": {"jti": 7},
    "an empty id": {"jti": ""},
    "a long id": {"jti": "j" * 129},
    "an id with a zero": {"jti": "a\x00b"},
}


@pytest.mark.parametrize("what", BAD_CLAIMS)
def test_claims_are_strict(what: str) -> None:
    # Signed by hand: the library refuses to make some of these.
    made = raw({"alg": "EdDSA", "kid": KEY_ID}, claims(**BAD_CLAIMS[what]), ED.sign)
    assert judge(made, identity(), NOW) is None


@given(st.integers(-120, 120), st.integers(-120, 120))
def test_a_token_lives_a_minute_at_most_give_or_take_the_leeway(issued: int, life: int) -> None:
    expires = AT + issued + life
    made = raw({"alg": "EdDSA", "kid": KEY_ID}, claims(iat=AT + issued, exp=expires), ED.sign)
    leeway, longest = LEEWAY.total_seconds(), MAX_LIFE.total_seconds()
    lives = 0 <= life <= longest and issued <= leeway and AT - leeway < expires
    assert (judge(made, identity(), NOW) is not None) == lives


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}]
)
def test_critical_headers_that_we_do_not_know_are_refused(header: dict[str, Any]) -> None:
    made = raw({"alg": "EdDSA", "kid": KEY_ID, **header}, claims(), ED.sign)
    assert judge(made, identity(), NOW) is None


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b.c", "é.é.é", "e30.e30.", "x" * 5000, raw({"alg": "EdDSA"}, {}, ED.sign)]
)
def test_what_is_no_token_names_no_key(text: str) -> None:
    assert key_id_of(text) is None
    assert judge(text, identity(), NOW) is None


@given(st.text(max_size=300))
def test_no_text_makes_the_judge_raise(text: str) -> None:
    assert key_id_of(text) is None
    assert judge(text, identity(), NOW) is None


@pytest.mark.parametrize("kid", [7, None, "AB" * 32, "ab" * 31, "ab" * 32 + "\n", ["ab" * 32]])
def test_a_key_id_is_a_hash_in_hex(kid: object) -> None:
    assert key_id_of(raw({"alg": "EdDSA", "kid": kid}, claims(), ED.sign)) is None


def test_a_connection_has_the_key_of_its_first_certificate() -> None:
    first, second = Pki().caller(), Pki().caller()
    chain = [one.pem.decode() for one in (first, second)]
    assert connected_key({"extensions": {"tls": {"client_cert_chain": chain}}}) == key_id(first)


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"extensions": {}},
        {"extensions": {"tls": {}}},
        {"extensions": {"tls": {"client_cert_chain": []}}},
        {"extensions": {"tls": {"client_cert_chain": ["no certificate"]}}},
        {"headers": [(b"x-client-cert", Pki().caller().pem)]},
    ],
)
def test_a_connection_without_a_certificate_has_no_key(scope: dict[str, Any]) -> None:
    assert connected_key(scope) is None
