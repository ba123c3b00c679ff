"""Keys and mailbox of the reference client."""

from email.message import EmailMessage
from pathlib import Path

import pytest
from cryptography import x509

from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import read_signing_key
from services.igfmas.keys import CALLER_KEY, REGISTRAR_KEY, make_keys, read_keys
from services.igfmas.mailbox import Mailbox, NoMail


def test_keys_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    for _ in range(2):
        make_keys(tmp_path / "secrets", tmp_path / "pki")
        contents = [(tmp_path / "secrets" / name).read_bytes() for name in (CALLER_KEY, REGISTRAR_KEY)]
    assert contents == [(tmp_path / "secrets" / name).read_bytes() for name in (CALLER_KEY, REGISTRAR_KEY)]
    for name in (CALLER_KEY, REGISTRAR_KEY):
        assert (tmp_path / "secrets" / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_requests_name_owner_and_system_and_prove_possession(tmp_path: Path) -> None:
    make_keys(tmp_path / "secrets", tmp_path / "pki")
    names = {}
    for purpose, owner, secret in (("caller", "igfmas", CALLER_KEY), ("registrar", "mygpki", REGISTRAR_KEY)):
        request = x509.load_pem_x509_csr((tmp_path / "pki/requests" / purpose / f"{owner}.csr.pem").read_bytes())
        assert request.is_signature_valid
        key = read_signing_key((tmp_path / "secrets" / secret).read_bytes())
        assert request.public_key() == key.public_key()
        names[owner] = request.subject.rfc4514_string()
    assert names == {
        "igfmas": "CN=igfmas,OU=iGFMAS,O=Kerajaan Malaysia,C=MY",
        "mygpki": "CN=mygpki,O=Kerajaan Malaysia,C=MY",
    }


def test_each_key_is_read_as_what_it_was_made_for(tmp_path: Path) -> None:
    make_keys(tmp_path / "secrets", tmp_path / "pki")
    caller, registrars = read_keys(tmp_path / "secrets")
    files = {caller: "caller/igfmas", registrars.registering: "registrar/mygpki"}
    files[registrars.validating] = "registrar/mygpki-pengesah"
    for key, file in files.items():
        assert key.name == file.rpartition("/")[2]
        request = x509.load_pem_x509_csr((tmp_path / "pki" / "requests" / f"{file}.csr.pem").read_bytes())
        assert key.key_id == public_key_id(request.public_key())


def mail(folder: Path, name: str, *, to: str, otp: str, reference: str) -> None:
    message = EmailMessage()
    message["X-Envelope-To"] = to
    message.set_content(f"{otp} ialah OTP anda. Rujukan {reference}.\n\n{otp} is your OTP. Reference {reference}.\n")
    (folder / f"{name}.eml").write_bytes(bytes(message))


async def test_the_otp_is_the_one_that_goes_with_the_reference_on_the_screen(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    mail(tmp_path, "1", to="a@anm.example", otp="111111", reference="AAA")
    mail(tmp_path, "2", to="a@anm.example", otp="222222", reference="BBB")
    mail(tmp_path, "3", to="b@anm.example", otp="333333", reference="AAA")
    assert await mailbox.otp("a@anm.example", "AAA", seconds=1) == "111111"
    assert await mailbox.otp("A@anm.example", "BBB", seconds=1) == "222222"
    with pytest.raises(NoMail):
        await mailbox.otp("b@anm.example", "BBB", seconds=0)


async def test_mail_of_earlier_runs_is_not_read(tmp_path: Path) -> None:
    mail(tmp_path, "1", to="a@anm.example", otp="111111", reference="AAA")
    with pytest.raises(NoMail):
        await Mailbox(tmp_path).otp("a@anm.example", "AAA", seconds=0)
