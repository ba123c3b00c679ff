"""A key of the compacted topic counts only if its chain leads to the pinned root, for its purpose and owner."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.trust import key_trust, read_service_root, usable_key, vouches
from libs.contracts.manifest import signature_input
from libs.contracts.state import Key
from libs.runtime.settings import ConfigurationError
from tests.support.pki import EPOCH, Identity, Pki
from tests.support.requests import key_state

ROOT = b"r" * 32


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(scope="module")
def service_root(pki: Pki) -> bytes:
    return pki.service_root.certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def caller(pki: Pki) -> Identity[Any]:
    return pki.caller()


@pytest.fixture
def key(pki: Pki, caller: Identity[Any]) -> Key:
    return key_state(caller, "caller", "igfmas", pki)


def test_a_genuine_key_of_each_purpose_is_kept(pki: Pki, service_root: bytes, key: Key) -> None:
    keeps = key_trust(service_root, lambda: EPOCH)
    assert keeps(key)
    assert keeps(key_state(pki.registrar(), "registrar", "mygpki", pki))
    assert keeps(key_state(pki.producer(), "producer", "otp_dispatch", pki))
    assert keeps(key_state(pki.sealing_key(), "sealing", "sealing key", pki))


@pytest.mark.parametrize(
    "lie",
    [
        {"owner": "another"},
        {"purpose": "producer"},
        {"purpose": "registrar"},
        {"key_id": "00" * 32},
        {"chain": ()},
        {"chain": (b"rubbish",)},
    ],
    ids=str,
)
def test_a_key_that_says_what_its_certificate_does_not_is_not_kept(
    service_root: bytes, key: Key, lie: dict[str, Any]
) -> None:
    """I-17."""
    assert not key_trust(service_root, lambda: EPOCH)(key.model_copy(update=lie))


def test_a_key_under_another_root_is_not_kept(service_root: bytes) -> None:
    """I-17."""
    other = Pki()
    assert not key_trust(service_root, lambda: EPOCH)(key_state(other.caller(), "caller", "igfmas", other))


def test_the_sealing_authority_can_make_no_caller(pki: Pki, service_root: bytes, caller: Identity[Any]) -> None:
    key = key_state(pki.sealing_key(), "sealing", "sealing key", pki)
    assert not key_trust(service_root, lambda: EPOCH)(key.model_copy(update={"purpose": "caller"}))


def test_a_genuine_key_is_kept_but_not_usable_outside_its_validity(service_root: bytes, key: Key) -> None:
    """A reader of the compacted topic meets the sealing keys of past days: they are no fault."""
    for at in (EPOCH + timedelta(days=400), EPOCH - timedelta(days=2)):
        assert key_trust(service_root, partial(min, at, at))(key)
        assert usable_key(key, service_root, at) is None


def test_a_key_is_usable_until_it_is_retired(service_root: bytes, key: Key) -> None:
    retired = key.model_copy(update={"retired_at": EPOCH})
    assert usable_key(retired, service_root, EPOCH - timedelta(seconds=1)) is not None
    assert usable_key(retired, service_root, EPOCH) is None
    assert usable_key(None, service_root, EPOCH) is None


def test_a_usable_callers_key_names_its_system(service_root: bytes, key: Key) -> None:
    identity = usable_key(key, service_root, EPOCH)
    assert identity is not None
    assert (identity.name, identity.unit) == ("igfmas", "iGFMAS")


def test_a_caller_vouches_only_for_itself_and_only_for_what_it_signed(
    service_root: bytes, key: Key, caller: Identity[Any]
) -> None:
    identity = usable_key(key, service_root, EPOCH)
    signature = caller.key.sign(signature_input(ROOT))
    assert vouches(identity, caller="igfmas", root=ROOT, signature=signature)
    assert not vouches(identity, caller="another", root=ROOT, signature=signature)
    assert not vouches(identity, caller="igfmas", root=b"x" * 32, signature=signature)
    assert not vouches(identity, caller="igfmas", root=ROOT, signature=caller.key.sign(ROOT))
    assert not vouches(None, caller="igfmas", root=ROOT, signature=signature)


def test_a_producers_key_is_no_callers(pki: Pki, service_root: bytes) -> None:
    producer = pki.producer("igfmas")
    identity = usable_key(key_state(producer, "producer", "igfmas", pki), service_root, EPOCH)
    assert identity is not None
    assert not vouches(identity, caller="igfmas", root=ROOT, signature=producer.key.sign(signature_input(ROOT)))


def test_the_service_root_is_read_or_the_setting_is_named(tmp_path: Path, pki: Pki, service_root: bytes) -> None:
    with pytest.raises(ConfigurationError, match="GPKI_PKI_DIR"):
        read_service_root(tmp_path)
    (tmp_path / "service_root.pem").write_text("rubbish")
    with pytest.raises(ConfigurationError, match="GPKI_PKI_DIR"):
        read_service_root(tmp_path)
    (tmp_path / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
    assert read_service_root(tmp_path) == service_root
