"""An officer's own token of any maker, through PKCS#11 (extra `token`): raw signatures, CMS around them, PKCS #10.

python-pkcs11 tells the module that there are no threads, so one thread of the process does all of it, and one token is
open at a time: a second login would end the first one's.
"""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as ck

from . import certificates, cms
from .clock import Clock, utc_now
from .der import BIT_STRING, CONTEXT_0, INTEGER, SEQUENCE, content, encode
from .errors import CertificateError, TokenError
from .manifest import Manifest

_DIGEST_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")
"""DigestInfo of SHA-256 (RFC 8017 section 9.2): every token has plain RSA_PKCS, not every one hashes."""

_REASONS: Final[dict[type[Exception], str]] = {
    ck.PinIncorrect: "pin-refused",
    ck.PinInvalid: "pin-refused",
    ck.PinLenRange: "pin-refused",
    ck.PinExpired: "pin-expired",
    ck.PinLocked: "pin-locked",
    ck.NoSuchToken: "token-missing",
    ck.TokenNotPresent: "token-missing",
    ck.DeviceRemoved: "token-missing",
}

_POINT_BYTES: Final = 65

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gpki-token")
_in_use = threading.Lock()

T = TypeVar("T")


class OfficerToken:
    """A token with one signing key, logged in: RSA from 2048 bits, or P-256. `async with`, or `aclose`.

    Every method raises TokenError, whose `reason` is `pin-refused`, `pin-expired`, `pin-locked`, `token-missing`,
    `no-key`, `in-use` or `token-failed`.
    """

    def __init__(self, library: Any, session: Any, private: Any, public_key: Any) -> None:
        """Use `open`."""
        self._library = library
        self._session = session
        self._private = private
        self.public_key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = public_key

    @classmethod
    async def open(cls, module: Path | str, token_label: str, pin: str, *, key_label: str | None = None) -> Self:
        """Log in, once, and find the key; `key_label` where the token has several. A wrong PIN counts on the token."""
        if not _in_use.acquire(blocking=False):
            raise TokenError("in-use", "one token at a time in one process")
        try:
            parts = await _run(partial(_open, str(module), token_label, pin, key_label))
            return cls(*parts)
        except BaseException:
            _in_use.release()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Log out; may be called again."""
        session, self._session = self._session, None
        if session is not None:
            try:
                await _run(partial(_close, self._library, session))
            finally:
                _in_use.release()

    async def sign(self, data: bytes) -> bytes:
        """RSA PKCS #1 v1.5 with SHA-256, or ECDSA with SHA-256 in DER."""
        return await _run(partial(self._sign, data))

    async def sign_manifest(
        self, manifest: Manifest, certificate: bytes, chain: Sequence[bytes] = (), *, clock: Clock = utc_now
    ) -> dict[str, bytes]:
        """The CMS of every document, by its id, for `GpkiClient.token_signatures`.

        Certificates in PEM or DER: the officer's, and those between it and the root. Raises also CertificateError.
        """
        leaf = certificates.load(certificate)
        if leaf.public_key() != self.public_key:
            raise CertificateError("not of this token's key")
        signer = cms.Signer(leaf, [certificates.load(one) for one in chain])
        root = await asyncio.to_thread(lambda: manifest.root)
        found = {}
        for document in manifest.documents:
            said = cms.SignedAttributes(
                document_id=document.id,
                digest=bytes.fromhex(document.sha256),
                action=manifest.header.action,
                system=manifest.header.system,
                root=root,
                signing_time=clock().replace(microsecond=0),
            )
            signed = signer.to_be_signed(said)
            found[document.id] = signer.assemble(signed, await self.sign(signed))
        return found

    async def certification_request(self, name: x509.Name) -> bytes:
        """A PKCS #10 request in DER that proves possession of the token's key."""
        key = self.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        told = encode(SEQUENCE, encode(INTEGER, b"\0"), name.public_bytes(), key, encode(CONTEXT_0))
        signature = encode(BIT_STRING, b"\0" + await self.sign(told))
        return encode(SEQUENCE, told, cms.algorithm_of(self.public_key), signature)

    def _sign(self, data: bytes) -> bytes:
        digest = hashlib.sha256(data).digest()
        if isinstance(self.public_key, rsa.RSAPublicKey):
            return bytes(self._private.sign(_DIGEST_INFO + digest, mechanism=Mechanism.RSA_PKCS))
        raw = self._private.sign(digest, mechanism=Mechanism.ECDSA)
        half = len(raw) // 2
        return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


async def _run(work: Callable[[], T]) -> T:
    """Do it on the one thread. Raises TokenError, outside the handler: PKCS#11's own error may hold what was sent."""
    try:
        return await asyncio.get_running_loop().run_in_executor(_thread, work)
    except ck.PKCS11Error as error:
        reason = _REASONS.get(type(error), "token-failed")
        text = type(error).__name__
    raise TokenError(reason, text)


def _open(module: str, token_label: str, pin: str, key_label: str | None) -> tuple[Any, Any, Any, Any]:
    library = pkcs11.lib(module)
    try:
        session = library.get_token(token_label=token_label).open(user_pin=pin)
        private = _key(session, {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.SIGN: True}, key_label)
        same = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: private[Attribute.ID]}
        public_key = _public_key(_key(session, same, private[Attribute.LABEL] or None))
    except BaseException:
        library.finalize()
        raise
    return library, session, private, public_key


def _key(session: Any, template: dict[Attribute, Any], label: str | None) -> Any:
    found = list(session.get_objects(template if label is None else {**template, Attribute.LABEL: label}))
    if len(found) != 1:
        raise TokenError("no-key", f"{len(found)} keys of that kind and name, and not one")
    return found[0]


def _public_key(public: Any) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    try:
        if public[Attribute.KEY_TYPE] is KeyType.RSA:
            exponent = int.from_bytes(public[Attribute.PUBLIC_EXPONENT], "big")
            key: Any = rsa.RSAPublicNumbers(exponent, int.from_bytes(public[Attribute.MODULUS], "big")).public_key()
        else:
            point = public[Attribute.EC_POINT]
            point = point if len(point) == _POINT_BYTES else content(point)  # some tokens leave out the OCTET STRING
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        cms.algorithm_of(key)
    except (ValueError, CertificateError):
        raise TokenError("no-key", "the key is not RSA from 2048 bits, or P-256") from None
    return key  # type: ignore[no-any-return]  # the two branches, in an untyped library


def _close(library: Any, session: Any) -> None:
    try:
        session.close()
    finally:
        library.finalize()
