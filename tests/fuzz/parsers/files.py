"""Files that are handed over at a restore and at the authority: a backup of custody, as found (0) and as the HSM could
have signed it (1), the order to restore it (2), a security officer's certificate (3), a request for one (4); a
signature on Kafka, which a restore reads again (5); and a policy of settings (6).
"""

import atexit
import base64
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from libs.bus import settings_policy
from libs.bus.security_officers import FOLDER, security_officers
from libs.contracts.custody import RestoreOrder, SignedRestoreOrder, restore_signature_input
from libs.contracts.enrolment import AdministratorSignature
from libs.contracts.settings_policy import (
    SETTINGS_POLICY_FILE,
    SettingsPolicy,
    SignedSettingsPolicy,
    settings_policy_signature_input,
)
from libs.crypto.pki import ServicePurpose, build_service, distinguished_name
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import certification_request
from libs.crypto.service_certificates import ServiceIdentity
from libs.runtime.settings import ConfigurationError
from services.certificate_authority.provisioning import RequestRefused, _key_in
from services.hsm_signer import backup_file, restore_order
from services.hsm_signer.backup_file import BackedUpCredential, Backup, BackupError, Place
from services.hsm_signer.genuine import is_an_officers
from tests.fuzz.loop import loop
from tests.fuzz.mutating import mutate_bytes, mutate_der, mutate_json
from tests.fuzz.parsers.authority import der, fixed_key, fixed_signer, tree
from tests.fuzz.target import Target
from tests.support.documents import Officer, document, manifest, sign
from tests.support.pki import EPOCH

_USER = "800101145566"
_DIGEST = "0" * 64
_OFFICERS = {"so-1": fixed_signer(9), "so-2": fixed_signer(10)}


def accepts(data: bytes) -> bool:
    """Whether it is what it is to be, whoever made it; what nobody signed is nothing."""
    return _READERS.get(data[:1], _found)(data[1:])


class _Hsm:
    """Stands in for the token: one key, whatever its label."""

    async def with_private_key(self, _: str, use: Callable[[Any], Any]) -> Any:
        return use(fixed_key(0x66))


def _sealed(content: bytes) -> bytes:
    signature = fixed_key(0x66).sign(backup_file._DOMAIN + content, ec.ECDSA(hashes.SHA256()))
    return content + b"\n" + base64.b64encode(signature) + b"\n"


def _opened(file: bytes) -> Backup | None:
    hsm: Any = _Hsm()
    try:
        return loop().run_until_complete(backup_file.opened(file, hsm))
    except BackupError:
        return None


def _found(file: bytes) -> bool:
    opened = _opened(file)
    assert opened is None or opened == _backup()
    return opened is not None


def _as_signed(content: bytes) -> bool:
    opened = _opened(_sealed(content.replace(b"\n", b" ")))
    return opened is not None and Backup.model_validate_json(opened.model_dump_json()) == opened


def _order(content: bytes) -> bool:
    try:
        signed = SignedRestoreOrder.model_validate_json(content)
    except ValidationError:
        return False
    followed = restore_order.fault(signed, _DIGEST, _identities(), EPOCH + timedelta(hours=1)) is None
    assert not followed or signed.order == _restore()
    return followed


def _certificate(content: bytes) -> bool:
    (_folder() / "one.pem").write_bytes(content)
    found = security_officers(_folder().parents[1], der(tree().root), EPOCH)
    assert found.keys() <= {public_key_id(key.public_key()) for key in _OFFICERS.values()}
    return bool(found)


def _request(content: bytes) -> bool:
    (_folder() / "one.csr").write_bytes(content)
    try:
        _key_in(_folder() / "one.csr")
    except RequestRefused:
        return False
    return True


def _policy(content: bytes) -> bool:
    """Whether it is in force; what two signed is what they signed."""
    (_folder() / SETTINGS_POLICY_FILE).write_bytes(content)
    try:
        signed = settings_policy.read(_folder())
    except ConfigurationError:
        return False
    assert SignedSettingsPolicy.model_validate_json(signed.model_dump_json()) == signed
    in_force = settings_policy.fault(signed, {one.key_id: one for one in _identities()}) is None
    assert not in_force or signed.policy == _held()
    return in_force


def _signature(content: bytes) -> bool:
    event: Any = SimpleNamespace(cms=content)  # the one thing that is read of it
    return is_an_officers(event, tree().issuing.certificate)


_READERS = {
    b"\0": _found,
    b"\1": _as_signed,
    b"\2": _order,
    b"\3": _certificate,
    b"\4": _request,
    b"\5": _signature,
    b"\6": _policy,
}


@cache
def _folder() -> Path:
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    officers = Path(folder.name) / FOLDER
    officers.mkdir(parents=True)
    return officers


@cache
def _identities() -> tuple[ServiceIdentity, ...]:
    role = ServicePurpose.SECURITY_OFFICER
    return tuple(
        ServiceIdentity(name, role, public_key_id(key.public_key()), key.public_key(), EPOCH + timedelta(days=1), None)
        for name, key in _OFFICERS.items()
    )


def _restore() -> RestoreOrder:
    return RestoreOrder(order=UUID(int=1), backup_sha256=_DIGEST, ordered_at=EPOCH)


def _held() -> SettingsPolicy:
    told = {"media": ("token",), "ceiling": "1000.00", "port": 25, "kept": None}
    return SettingsPolicy(version=2, settings={"otp_dispatch": told})


def _signed(content: bytes) -> tuple[AdministratorSignature, ...]:
    return tuple(
        AdministratorSignature(key_id=public_key_id(key.public_key()), signature=key.sign(content))
        for key in _OFFICERS.values()
    )


def _backup() -> Backup:
    credential = BackedUpCredential(
        credential_id=UUID(int=2), user_id=_USER, algorithm="rsa-2048", wrapped=b"wrapped", salt=bytes(16),
        wrapping_key="wrap-1", pepper="pepper-1", memory_kib=19_456, iterations=2, parallelism=1, wrong_pins=1,
        locked_at=None, destroyed_at=None, created_at=EPOCH,
    )  # fmt: skip
    place = Place(topic="gpki.signing.signed.v1", partition=0, next_offset=7)
    return Backup(
        made_at=EPOCH, history=(place,), custody_keys=("wrap-1",), destroyed_keys=("wrap-0",), credentials=(credential,)
    )


def _mutate(data: bytes, random: Random) -> bytes:
    way, content = data[:1], data[1:]
    match way:
        case b"\1" | b"\2" | b"\6":
            return way + mutate_json(content, random)
        case b"\5":
            return way + mutate_der(content, random)
        case b"\3" | b"\4" if random.random() < 0.8:
            return way + _pem(content, random)
    return way + mutate_bytes(content, random)


def _pem(pem: bytes, random: Random) -> bytes:
    """Another element in it."""
    label, _, rest = pem.partition(b"-----\n")
    text, end, tail = rest.partition(b"-----END ")
    try:
        changed = mutate_der(base64.b64decode(text), random)
    except ValueError:
        return mutate_bytes(pem, random)
    return label + b"-----\n" + base64.encodebytes(changed) + end + tail


def seeds() -> Iterable[bytes]:
    """One of each."""
    content = _backup().model_dump_json().encode()
    yield b"\0" + _sealed(content)
    yield b"\1" + content
    order = SignedRestoreOrder(order=_restore(), signatures=_signed(restore_signature_input(_restore())))
    yield b"\2" + order.model_dump_json().encode()
    made = build_service(
        tree().root, _OFFICERS["so-1"].public_key(), purpose=ServicePurpose.SECURITY_OFFICER,
        name=distinguished_name("so-1"), serial=tree().serial(), validity=tree().validity(),
    )  # fmt: skip
    yield b"\3" + made.public_bytes(Encoding.PEM)
    yield b"\4" + certification_request(_OFFICERS["so-2"], distinguished_name("so-2"))
    who = Officer(tree(), _USER, tree().officer(_USER, key=fixed_key(0x33)))
    yield b"\5" + sign(who, manifest(_USER, [document("D1")]))[0].cms
    policy = SignedSettingsPolicy(policy=_held(), signatures=_signed(settings_policy_signature_input(_held())))
    yield b"\6" + policy.model_dump_json().encode()


TARGET = Target("files", accepts, seeds, _mutate, max_size=16 * 1024)
