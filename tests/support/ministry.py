"""A ministry's two security officers: their certificates, their command line, and the folder that services read."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from libs.bus.security_officers import FOLDER
from libs.contracts.settings_policy import SETTINGS_POLICY_FILE, SettingsPolicy, SignedSettingsPolicy
from libs.crypto.public_keys import public_key_id
from libs.runtime.secret_files import publish, write_secret
from services.operations.__main__ import gpki
from tests.support.pki import Identity, Pki

PEOPLE = ("aminah", "kamarul")

Officer = Identity[Ed25519PrivateKey]


@dataclass
class Ministry:
    """Its folder is `pki_dir`; `own` has what is theirs alone."""

    pki: Pki
    pki_dir: Path
    own: Path
    officers: dict[str, Officer] = field(default_factory=dict)

    def certify(self, name: str, *, file: str | None = None) -> None:
        """Have this person's certificate where services find it."""
        officer = self.pki.security_officer(name)
        publish(self.pki_dir / FOLDER / f"{file or name}.pem", officer.pem)
        self.officers[file or name] = officer

    def draft(self, version: int, **settings: dict[str, Any]) -> Path:
        """A policy that nobody has signed yet."""
        file = self.own / f"policy-{version}.json"
        publish(file, SettingsPolicy(version=version, settings=settings).model_dump_json().encode())
        return file

    def sign(self, file: Path, *people: Officer) -> SignedSettingsPolicy:
        """`gpki policy approve` as each of these."""
        for number, officer in enumerate(people):
            key = self.own / f"{number}.key"
            write_secret(key, officer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            done = CliRunner().invoke(gpki, ["policy", "approve", str(file), "--key", str(key)])
            assert done.exit_code == 0, done.output
        found = SignedSettingsPolicy.model_validate_json(file.read_bytes())
        assert len(found.signatures) == len({public_key_id(one.key.public_key()) for one in people})
        return found

    def put(self, signed: SignedSettingsPolicy) -> None:
        """As anybody can who writes the folder."""
        publish(self.pki_dir / SETTINGS_POLICY_FILE, signed.model_dump_json().encode())

    def take_away(self) -> None:
        """The same: certificates and policy."""
        shutil.rmtree(self.pki_dir / FOLDER)
        (self.pki_dir / SETTINGS_POLICY_FILE).unlink(missing_ok=True)
