"""Change of policy: who may call, for which offices, and who may register. One security officer alone changes none."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from libs.crypto.pki import distinguished_name
from libs.crypto.requests import certification_request
from libs.runtime.secret_files import publish, write_secret
from services.certificate_authority import orders
from services.certificate_authority.provisioning import RequestRefused
from services.operations.__main__ import gpki
from tests.attacks.access.test_two_people import believed
from tests.integration.certificate_authority.conftest import Authority, authority, token

__all__ = ["authority", "token"]

PEOPLE = ("aminah", "kamarul")


class Office:
    """Two security officers after the ceremony, as their command line serves them."""

    def __init__(self, world: Authority, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.keys: dict[str, Ed25519PrivateKey] = {}

    async def ceremony(self) -> None:
        """Both are certified, with whatever else is there: there is nobody to ask yet."""
        for person in PEOPLE:
            self.new_key(person)
        await self.world.init()

    def new_key(self, person: str) -> None:
        """Another key of this person, and the request for it."""
        self.keys[person] = Ed25519PrivateKey.generate()
        pem = self.keys[person].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_secret(self.folder / f"{person}.key", pem)
        self.world.ask("security-officer", person, self.keys[person])

    def approve(self, person: str, purpose: str, owner: str, *more: str) -> str:
        """`gpki approve` as this person."""
        request = self.world.settings.pki_dir / "requests" / purpose / f"{owner}.csr.pem"
        key = self.folder / f"{person}.key"
        done = CliRunner().invoke(gpki, ["approve", str(request), "--key", str(key), *more])
        return f"{done.exit_code} {done.output}"

    def is_certified(self, purpose: str, owner: str, key: Ed25519PrivateKey) -> bool:
        """Whether `init` answered with a certificate over this key."""
        file = self.world.settings.pki_dir / "certificates" / purpose / f"{owner}.pem"
        return file.exists() and self.world.pem(f"certificates/{purpose}/{owner}.pem").public_key() == key.public_key()


@pytest.fixture
async def office(authority: Authority, tmp_path: Path) -> Office:
    made = Office(authority, tmp_path)
    await made.ceremony()
    return made


async def test_one_security_officer_alone_makes_no_registrar(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """ADM-1, I-50: nor somebody who can only write the folder; what was certified at the ceremony stays."""
    await office.world.init()
    thief = Ed25519PrivateKey.generate()
    office.world.ask("registrar", "pencuri", thief)
    with pytest.raises(RequestRefused, match="no order"):
        await office.world.init()
    assert office.approve("aminah", "registrar", "pencuri").startswith("0 ")
    assert office.approve("aminah", "registrar", "pencuri").startswith("0 ")  # twice is once
    with pytest.raises(RequestRefused, match="two different people"):
        await office.world.init()
    assert not office.is_certified("registrar", "pencuri", thief)
    with monkeypatch.context() as patch:
        patch.setattr(orders, "confirmed_by_two", believed)
        await office.world.init()
    assert office.is_certified("registrar", "pencuri", thief)


async def test_two_security_officers_certify_a_caller_with_exactly_its_policy(office: Office) -> None:
    """ADM-1, I-50: the operator's setting alone widens nothing; an order for one key is none for another."""
    key = Ed25519PrivateKey.generate()
    office.world.ask("caller", "etanah", key)
    policy = ("--system", "eTanah", "--office", "AG-JB-02")
    for person in PEOPLE:
        assert office.approve(person, "caller", "etanah", *policy).startswith("0 ")
    settings = office.world.settings
    systems = {**settings.caller_systems, "etanah": "eTanah"}
    for offices in ({}, {"etanah": frozenset({"AG-JB-02", "AG-KL-01"})}):
        office.world.settings = settings.model_copy(update={"caller_systems": systems, "caller_offices": offices})
        with pytest.raises(RequestRefused, match="something else"):
            await office.world.init()
    allowed = {"etanah": frozenset({"AG-JB-02"})}
    office.world.settings = settings.model_copy(update={"caller_systems": systems, "caller_offices": allowed})
    await office.world.init()
    assert office.is_certified("caller", "etanah", key)
    await office.world.init()
    office.world.ask("caller", "etanah", Ed25519PrivateKey.generate())
    with pytest.raises(RequestRefused, match="something else"):
        await office.world.init()


async def test_a_third_security_officer_needs_the_first_two_and_a_new_key_of_one_is_no_second_person(
    office: Office,
) -> None:
    """ADM-1, I-50."""
    office.new_key("siti")
    assert office.approve("siti", "security-officer", "siti").startswith("0 ")
    assert office.approve("aminah", "security-officer", "siti").startswith("0 ")
    with pytest.raises(RequestRefused, match="two different people"):
        await office.world.init()
    assert office.approve("kamarul", "security-officer", "siti").startswith("0 ")
    await office.world.init()
    assert office.is_certified("security-officer", "siti", office.keys["siti"])


def test_an_order_that_says_something_else_is_not_signed_over(tmp_path: Path) -> None:
    """Who signs second signs what the first signed, or nothing; what is no request is not signed."""
    key = Ed25519PrivateKey.generate()
    write_secret(tmp_path / "own.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    request = tmp_path / "caller" / "etanah.csr.pem"
    publish(request, certification_request(Ed25519PrivateKey.generate(), distinguished_name("whatever")))
    order = request.with_name("etanah.order.json")

    def approved(file: Path, *more: str) -> tuple[int, str]:
        done = CliRunner().invoke(gpki, ["approve", str(file), "--key", str(tmp_path / "own.key"), *more])
        return done.exit_code, done.output

    assert approved(request, "--system", "eTanah", "--office", "AG-JB-02")[0] == 0
    before = order.read_bytes()
    code, output = approved(request, "--system", "eTanah")
    assert (code, order.read_bytes()) == (1, before)
    assert "something else" in output
    publish(tmp_path / "caller" / "other.csr.pem", b"no request")
    publish(tmp_path / "root" / "me.csr.pem", request.read_bytes())
    for file in ("caller/nobody.csr.pem", "caller/other.csr.pem", "root/me.csr.pem"):
        assert approved(tmp_path / file)[0] == 1, file
