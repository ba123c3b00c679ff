"""The code: bound to its place at rest, to its request in the challenge, and nowhere in a repr."""

import email
import email.policy
import gc
import stat
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.signing import OTP_LIFETIME, OtpDispatched
from libs.contracts.state import Key
from libs.crypto.challenge import ChallengeError, open_challenge, otp_matches
from libs.crypto.pki import requested_key
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import read_signing_key
from libs.crypto.sealing import PURPOSE_CHALLENGE, sealing_info
from services.otp_dispatch.channels import Mailbox
from services.otp_dispatch.code_box import CodeBox, CodeLost
from services.otp_dispatch.codes import Codes
from services.otp_dispatch.dispatch import Ready
from services.otp_dispatch.init import make_keys
from services.otp_dispatch.mail import mail
from services.otp_dispatch.sealing_key import newest_sealing_key
from tests.support.pki import EPOCH, Pki
from tests.support.requests import documents, header, key_state, medium_resolved, new_user

CHALLENGE_KEY = Ed25519PrivateKey.generate()
BOX_KEY = b"k" * 32
MAILBOX = Mailbox("siti@anm.example")


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture
def codes() -> Codes:
    return Codes(box=CodeBox(BOX_KEY), challenge_key=CHALLENGE_KEY, domain="gpki.example")


@pytest.fixture
def ready(pki: Pki) -> Ready:
    event = medium_resolved(header(new_user(), 2), documents(2), pki.caller())
    return Ready(event, event.signed.manifest.commitment().root, (MAILBOX,), EPOCH)


def test_a_code_at_rest_opens_only_at_its_place_and_under_its_key() -> None:
    box = CodeBox(BOX_KEY)
    closed = box.close("482913", b"place")
    assert box.open(closed, b"place") == "482913"
    assert b"482913" not in closed
    assert closed != box.close("482913", b"place")
    for other, place, content in [
        (box, b"elsewhere", closed),
        (CodeBox(b"x" * 32), b"place", closed),
        (box, b"place", closed[:-1] + bytes([closed[-1] ^ 1])),
        (box, b"place", b""),
    ]:
        with pytest.raises(CodeLost):
            other.open(content, place)


def test_every_reservation_has_a_code_and_message_id_of_its_own(codes: Codes, ready: Ready, pki: Pki) -> None:
    key = pki.sealing_key().key.public_key()
    made = [codes.make(ready, key, 1) for _ in range(50)]
    assert len({one.message_id for one in made}) == 50
    assert len({codes.open(ready, one) for one in made}) > 40
    assert all(one.message_id.endswith("@gpki.example>") for one in made)
    assert all("closed_code" not in repr(one) for one in made)


def test_a_reservation_opens_only_for_the_manifest_that_it_was_made_for(codes: Codes, ready: Ready, pki: Pki) -> None:
    made = codes.make(ready, pki.sealing_key().key.public_key(), 1)
    for other, reservation in [(replace(ready, root=b"x" * 32), made), (ready, replace(made, closed_code=None))]:
        with pytest.raises(CodeLost):
            codes.open(other, reservation)


def test_only_the_signer_opens_the_challenge_and_it_binds_code_request_root_and_key(
    codes: Codes, ready: Ready, pki: Pki
) -> None:
    sealing = pki.sealing_key()
    reservation = codes.make(ready, sealing.key.public_key(), 1)
    otp = codes.open(ready, reservation)
    event = codes.dispatched(ready, MAILBOX, reservation, otp, delivered_at=EPOCH)
    assert event.sealing_key_id == public_key_id(sealing.key.public_key())

    def opened(key_of_sealing: str, root: bytes, producer: str) -> bool:
        info = sealing_info(PURPOSE_CHALLENGE, str(event.request_id), root, key_of_sealing)
        keys = {producer: CHALLENGE_KEY.public_key()}
        challenge = open_challenge(event.challenge, sealing.key, info, keys.get)
        assert challenge.root == ready.root
        assert (challenge.delivered_at, challenge.expires_at) == (EPOCH, EPOCH + OTP_LIFETIME["e-mail"])
        assert challenge.user == ready.header.user
        assert challenge.credential_id == str(ready.event.credential_id)
        assert challenge.reference_code == event.reference_code
        return otp_matches(challenge, otp)

    assert opened(event.sealing_key_id, ready.root, public_key_id(CHALLENGE_KEY.public_key()))
    for wrong in [
        ("00" * 32, ready.root, public_key_id(CHALLENGE_KEY.public_key())),
        (event.sealing_key_id, b"x" * 32, public_key_id(CHALLENGE_KEY.public_key())),
        (event.sealing_key_id, ready.root, "00" * 32),
    ]:
        with pytest.raises(ChallengeError):
            opened(*wrong)


def test_the_event_says_where_the_code_went_and_not_what_it_is(codes: Codes, ready: Ready, pki: Pki) -> None:
    reservation = codes.make(ready, pki.sealing_key().key.public_key(), 1)
    event = codes.dispatched(ready, MAILBOX, reservation, "482913", delivered_at=EPOCH)
    assert event.expires_at - event.delivered_at == timedelta(minutes=10)
    assert (event.number, event.channel, event.destination) == (1, "e-mail", "s***@anm.example")
    for name in OtpDispatched.model_fields:
        assert "482913" not in str(getattr(event, name)), name


def test_a_mail_leaves_nothing_for_the_collector(codes: Codes, ready: Ready, pki: Pki) -> None:
    """The library's own headers leave a class each: hundreds of mails, and MBs, before the collector comes."""
    reservation = codes.make(ready, pki.sealing_key().key.public_key(), 1)

    def write(count: int) -> None:
        for _ in range(count):
            mail(ready, MAILBOX, reservation, "482913", sender="a@b.example", now=EPOCH, lifetime=timedelta(minutes=10))

    write(1)
    gc.collect()
    gc.disable()
    try:
        write(50)
        assert gc.collect() < 50, "not one for each"
    finally:
        gc.enable()


def test_the_mail_is_seven_bit_and_names_code_and_reference(codes: Codes, ready: Ready, pki: Pki) -> None:
    reservation = codes.make(ready, pki.sealing_key().key.public_key(), 1)
    content = mail(
        ready,
        MAILBOX,
        reservation,
        "482913",
        sender="no-reply@gpki.example",
        now=EPOCH,
        lifetime=OTP_LIFETIME["e-mail"],
    )
    assert content.isascii()
    assert max(map(len, content.splitlines())) <= 998
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert message["Message-ID"] == reservation.message_id
    assert message["To"] == "siti@anm.example"
    assert message["Auto-Submitted"] == "auto-generated"
    assert "482913" not in str(message["Subject"])
    body = message.get_content()
    assert body.startswith(f"482913 ialah OTP anda. Rujukan {reservation.reference_code}.")
    assert "16:10:00, 23/11/2026" in body  # EPOCH + 10 min, in Malaysia


def test_challenges_are_sealed_to_the_youngest_key_that_is_good_now(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    elsewhere = Pki(now=EPOCH + timedelta(hours=3), root_key=pki.root_key, issuing_key=pki.issuing_key)
    foreign = key_state(elsewhere.sealing_key(), "sealing", "sealing key", elsewhere)
    made = []
    for hours in range(3):
        monkeypatch.setattr(pki, "now", EPOCH + timedelta(hours=hours))
        made.append(key_state(pki.sealing_key(), "sealing", "sealing key", pki))
    old, young, youngest = made
    retired = youngest.model_copy(update={"retired_at": EPOCH})

    def chosen(*keys: Key, at: datetime = EPOCH) -> str | None:
        key = newest_sealing_key(keys, root, at)
        return None if key is None else public_key_id(key)

    assert chosen(old, young, foreign, retired) == chosen(young, retired, old) == young.key_id
    assert chosen(retired, foreign) is None
    assert chosen(old, young, at=EPOCH + timedelta(days=3, minutes=30)) == young.key_id
    assert chosen(old, young, at=EPOCH + timedelta(days=4)) is None


def test_init_makes_keys_once_and_asks_for_the_certificate_of_the_producer_key(tmp_path: Path) -> None:
    secrets, pki_dir = tmp_path / "secrets", tmp_path / "pki"
    make_keys(secrets, pki_dir)
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    make_keys(secrets, pki_dir)
    assert {file.name: file.read_bytes() for file in secrets.iterdir()} == before
    assert before.keys() == {"otp_key", "producer_key"}
    assert len(bytes.fromhex(before["otp_key"].decode())) == 32
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in secrets.iterdir())
    pem = (pki_dir / "requests" / "producer" / "otp_dispatch.csr.pem").read_bytes()
    der = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    assert requested_key(der) == read_signing_key(before["producer_key"]).public_key()
