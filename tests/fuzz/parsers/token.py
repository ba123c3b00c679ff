"""Bearer tokens: as anybody could send them (0), as a caller (1) or a device (2) could sign them.

Behind the lead of a signed one: header and claims, each a line of JSON.
"""

import base64
from collections.abc import Iterable
from functools import cache
from random import Random

from libs.contracts.state import Device, User
from libs.crypto.pki import ServicePurpose
from libs.crypto.public_keys import public_key_id
from libs.crypto.service_certificates import ServiceIdentity
from services.gateway.authentication import Caller, claimed_user, judge, judge_device, key_id_of
from tests.fuzz.mutating import mutate_bytes, mutate_json
from tests.fuzz.parsers.authority import fixed_signer
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

_CALLER, _DEVICE = fixed_signer(1), fixed_signer(4)
_KEY, _DEVICE_ID = public_key_id(_CALLER.public_key()), public_key_id(_DEVICE.public_key())
_IDENTITY = ServiceIdentity("igfmas", ServicePurpose.CALLER, _KEY, _CALLER.public_key(), EPOCH, "iGFMAS")
_USER = User(
    user="800101145566", version=1, name="P", email="p@anm.example", office="AG-KL-01", medium="roaming-otp",
    channels=("gpki-mobile",), credential_id=None,
    device=Device(
        device_id=_DEVICE_ID, sealing_key=bytes(32), signing_key=_DEVICE.public_key().public_bytes_raw(),
        registered_at=EPOCH,
    ),
)  # fmt: skip


def accepts(data: bytes) -> bool:
    """Whether somebody is admitted: only whose key signed, for a user and a time that are of their form."""
    way, content = data[:1], data[1:]
    if way in {b"\1", b"\2"}:
        head, _, claims = content.partition(b"\n")
        signed = b".".join((_b64(head), _b64(claims)))
        content = signed + b"." + _b64((_CALLER if way == b"\1" else _DEVICE).sign(signed))
    token = content.decode("latin-1")  # as HTTP gives it
    key_id, user = key_id_of(token), claimed_user(token)
    assert key_id is None or len(key_id) == 64
    assert user is None or len(user) == 12
    caller, device = judge(token, _IDENTITY, EPOCH), judge_device(token, _USER, EPOCH)
    for found, key in ((caller, b"\1"), (device, b"\2")):
        assert found is None or way == key or content in _genuine()
        assert found is None or (isinstance(found, Caller) and found.forget_at > EPOCH)
    return bool(caller or device)


@cache
def _genuine() -> set[bytes]:
    return {file.read_bytes()[1:] for file in TARGET.corpus.glob("seed-*")}


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _mutate(data: bytes, random: Random) -> bytes:
    way = data[:1]
    if way not in {b"\1", b"\2"} or random.random() < 0.1:
        return mutate_bytes(data, random)
    parts = list(data[1:].partition(b"\n"))
    place = random.choice((0, 2))
    parts[place] = mutate_json(parts[place], random).replace(b"\n", b" ")
    return way + b"".join(parts)


def seeds() -> Iterable[bytes]:
    """A caller's, a device's, and one that is ready to be sent."""
    at = int(EPOCH.timestamp())
    claims = f'"sub":"800101145566","aud":"gpki-gateway","iat":{at},"exp":{at + 30},"jti":"j-1"}}'
    of_caller = f'{{"alg":"EdDSA","kid":"{_KEY}","typ":"JWT"}}\n{{"iss":"igfmas",{claims}'.encode()
    yield b"\1" + of_caller
    yield b"\2" + f'{{"alg":"EdDSA","kid":"{_DEVICE_ID}"}}\n{{"iss":"{_DEVICE_ID}",{claims}'.encode()
    signed = b".".join(map(_b64, of_caller.split(b"\n")))
    yield b"\0" + signed + b"." + _b64(_CALLER.sign(signed))


TARGET = Target("token", accepts, seeds, _mutate)
