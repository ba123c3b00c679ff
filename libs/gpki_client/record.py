"""Offline proof of a posted document: record.json, document, signature.p7s and trust.pem in one folder, and no service.

What is proved: this officer signed these very bytes as part of this request, with a certificate that was valid and not
revoked at the time that the record says; and with both verifier keys pinned, that this record stood in the signing log
when log and witness signed the checkpoint: whatever was done to a database since. What is not: how the officer was
authenticated, and when, but for what the log's own record of it says.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from . import certificates
from .checkpoint import VerifierKey, read_checkpoint, signed_at
from .cms import ATTRIBUTES, SignedAttributes, Signer
from .der import children, content, encode_oid
from .errors import CertificateError, CheckpointError, RecordError
from .manifest import NAMESPACE, canonical, request_id_of, root_of_document
from .merkle import leaf_hash, root_from_path

TYPE: Final = "gpki.record.v1"

RECORD_FILE, DOCUMENT_FILE, SIGNATURE_FILE, TRUST_FILE = "record.json", "document", "signature.p7s", "trust.pem"

_BESIDE: Final = ("log_position", "leaf_hash", "inclusion", "openssl")
"""Members of record.json that are not in the log's record."""

_PURPOSES: Final = {"1.3.6.1.5.5.7.3.36", "1.3.6.1.5.5.7.3.4", "2.5.29.37.0"}
"""Documents, e-mail, any: one of them, if a certificate names purposes."""

_MAX_PATH: Final = 5

Json = dict[str, Any]


@dataclass(frozen=True)
class Pinned:
    """What you believe, as you got it by another way than the folder: the officers' root (PEM or DER), and the verifier
    keys of the signing log and of its witness (`checkpoint.verifier_key`).
    """

    root: bytes
    log: VerifierKey
    witness: VerifierKey


@dataclass(frozen=True)
class ProvenRecord:
    """What the four files prove. `root_certificate` is the hex SHA-256 of the root that was believed.

    `logged_at` is the witness's word: by then the record stood in the log. None when its keys were not pinned.
    """

    record_id: UUID
    request_id: UUID
    document_id: str
    user: str
    action: str
    signed_at: datetime
    leaf_hash: str
    root_certificate: str
    logged_at: datetime | None


def verify_record(folder: Path, *, root: bytes | None = None, pinned: Pinned | None = None) -> ProvenRecord:
    """Check everything in the folder against everything else. Raises RecordError, whose `check` names what failed.

    `pinned` is whom you believe; `root` is the officers' root alone, when the place in the log is not to be proved.
    Without either the root in trust.pem is believed: then compare `root_certificate` yourself, for whoever made the
    folder could have made a root too.

    The checks, in order: `files`, `record` (its form), `leaf`, `ids`, `root` (header, document and path), `document`
    (its bytes), `cms` (its form), `attributes`, `signature`, `certificate` (path, validity, purpose, user), `crl`,
    `command` (the one for OpenSSL that an auditor would run), `inclusion` (of the leaf in the checkpoint's tree), and
    of what is pinned `log` and `witness` (their signatures over the checkpoint).
    """
    try:
        names = (RECORD_FILE, DOCUMENT_FILE, SIGNATURE_FILE, TRUST_FILE)
        text, document, cms, trust = ((folder / name).read_bytes() for name in names)
    except OSError as error:
        raise RecordError("files", f"{Path(str(error.filename)).name}: {error.strerror}") from None
    try:
        record = json.loads(text, object_pairs_hook=_unique)
        proven = _prove(record, document, cms, trust, pinned.root if pinned else root)
        return replace(proven, logged_at=_logged(record, pinned))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError):
        raise RecordError("record", "not of its form") from None


def _prove(record: Json, document: bytes, cms: bytes, trust: bytes, pinned: bytes | None) -> ProvenRecord:
    header, entry = record["header"], record["document"]
    logged = {name: value for name, value in record.items() if name not in _BESIDE}
    _check(record["type"] == TYPE and type(record["log_position"]) is int, "record", "not of its form")
    _check(leaf_hash(canonical(logged)).hex() == record["leaf_hash"], "leaf", "the record is not the one in the log")
    request_id = request_id_of(header["caller"], header["request"])
    record_id = uuid5(NAMESPACE, "\x1f".join((TYPE, str(request_id), entry["id"])))
    ids = (str(request_id), str(record_id)) == (record["request_id"], record["record_id"])
    _check(ids, "ids", "request_id or record_id do not follow from request and document")
    path = [bytes.fromhex(node) for node in record["path"]]
    try:
        root = root_of_document(header, entry, int(record["index"]), path)
    except ValueError:
        root = b""
    _check(root.hex() == record["root"], "root", "header, document and path do not prove it")
    _check(hashlib.sha256(document).hexdigest() == entry["sha256"], "document", "other bytes than were signed")
    _check(base64.b64decode(record["cms"], validate=True) == cms, "cms", "signature.p7s is not the record's")

    leaf, others = _signature(record, cms, root)
    signed_at = _time(record["signed_at"])
    found, crls = _trust(trust)
    anchor = _anchor(record, found, pinned)
    chain = _certificate(record, leaf, [*others, *found], anchor, signed_at)
    moment = max([signed_at, *(_time(crl["this_update"]) for crl in record["crls"])])
    _check(len(record["crls"]) == len(chain) - 1, "crl", "one for each authority, and there is another number")
    for told, child, issuer in zip(record["crls"], chain, chain[1:], strict=False):
        _crl(told, child, issuer, crls, moment)
    _check(record["openssl"] == _command(moment), "command", "not the command that checks this signature")
    return ProvenRecord(
        record_id, request_id, entry["id"], header["user"], header["action"], signed_at, record["leaf_hash"],
        _fingerprint(anchor), None,
    )  # fmt: skip


def _logged(record: Json, pinned: Pinned | None) -> datetime | None:
    """When the witness vouched for the record's place in the log."""
    inclusion = record.get("inclusion")
    if inclusion is None:
        _check(pinned is None, "inclusion", "the folder has no proof that the record is in the signing log")
        return None
    try:
        checkpoint = read_checkpoint(inclusion["checkpoint"])
        path = [bytes.fromhex(node) for node in inclusion["path"]]
        proven = root_from_path(bytes.fromhex(record["leaf_hash"]), record["log_position"], checkpoint.size, path)
    except (CheckpointError, ValueError) as error:
        raise RecordError("inclusion", f"no proof: {error}") from None
    _check(proven == checkpoint.root, "inclusion", "the path does not lead to the checkpoint's root")
    if pinned is None:
        return None
    _check(checkpoint.origin == pinned.log.name, "log", "a checkpoint of another log")
    moment = None
    for check, key in (("log", pinned.log), ("witness", pinned.witness)):
        try:
            moment = signed_at(inclusion["checkpoint"], key)
        except CheckpointError as error:
            raise RecordError(check, str(error)) from None
    return moment


def _signature(record: Json, cms: bytes, root: bytes) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The officer's certificate and the others in the CMS, once it is of the profile, of this document, and holds."""
    header, entry = record["header"], record["document"]
    try:
        _, signed_data = children(cms)
        *_, held, infos = children(children(signed_data)[0])
        _, _, _, attributes, _, signature = children(children(infos)[0])
        found = {children(one)[0]: one for one in children(attributes)}
        time = children(children(found[encode_oid(ATTRIBUTES["signing_time"])])[1])[0]
        signing_time = datetime.strptime(content(time).decode("ascii"), "%y%m%d%H%M%SZ").replace(tzinfo=UTC)
        all_held = [certificates.load(der) for der in children(held)]
        (leaf,) = (one for one in all_held if _fingerprint(one) == record["certificate_path"][0])
        others = [one for one in all_held if one != leaf]
        signer = Signer(leaf, others)
    except (*certificates.UNREADABLE, KeyError, CertificateError):
        raise RecordError("cms", "not of the profile, or without the officer's certificate") from None
    said = SignedAttributes(
        entry["id"], bytes.fromhex(entry["sha256"]), header["action"], header["system"], root, signing_time
    )
    wrong = [name for name, der in signer.attributes(said).items() if der not in found.values()]
    _check(not wrong, "attributes", f"other than the record says: {', '.join(wrong)}")
    signed = signer.to_be_signed(said)
    _check(signer.assemble(signed, content(signature)) == cms, "cms", "not of the profile")
    key: Any = leaf.public_key()
    rules: tuple[Any, ...] = (ec.ECDSA(hashes.SHA256()),)
    if isinstance(key, rsa.RSAPublicKey):
        rules = (padding.PKCS1v15(), hashes.SHA256())
    try:
        key.verify(content(signature), signed, *rules)
    except InvalidSignature:
        raise RecordError("signature", "not this certificate's over this document") from None
    return leaf, others


def _trust(pem: bytes) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    try:
        blocks = [b"-----BEGIN " + block for block in pem.split(b"-----BEGIN ")[1:]]
        crls = [x509.load_pem_x509_crl(block) for block in blocks if block.startswith(b"-----BEGIN X509 CRL")]
        return [certificates.load(block) for block in blocks if block.startswith(b"-----BEGIN CERT")], crls
    except (*certificates.UNREADABLE, CertificateError):
        raise RecordError("files", f"{TRUST_FILE} cannot be read") from None


def _anchor(record: Json, found: Sequence[x509.Certificate], pinned: bytes | None) -> x509.Certificate:
    try:
        candidates = found if pinned is None else [certificates.load(pinned)]
    except CertificateError:
        raise RecordError("certificate", "the pinned root is not a certificate") from None
    wanted = record["certificate_path"][-1]
    anchor = next((one for one in candidates if _fingerprint(one) == wanted), None)
    if anchor is None:
        raise RecordError("certificate", "the record's root is not the one that is believed")
    return anchor


def _certificate(
    record: Json, leaf: x509.Certificate, others: Sequence[x509.Certificate], anchor: x509.Certificate, at: datetime
) -> list[x509.Certificate]:
    try:
        chain = certificates.path_to(anchor, leaf, others, at=at, length=_MAX_PATH)
        usage = certificates.extension(leaf, x509.KeyUsage)
        constraints = certificates.extension(leaf, x509.BasicConstraints)
        purposes = certificates.purposes(leaf)
    except CertificateError as error:
        raise RecordError("certificate", str(error)) from None
    signs = usage is not None and usage.digital_signature and usage.content_commitment
    signs = signs and not (constraints is not None and constraints.ca)
    _check(signs and (purposes is None or bool(purposes & _PURPOSES)), "certificate", "not for signing documents")
    _check([_fingerprint(one) for one in chain] == record["certificate_path"], "certificate", "another path")
    users = [name.value for name in leaf.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
    _check(users == [record["header"]["user"]], "certificate", "another officer's")
    return chain


def _crl(
    told: Json,
    child: x509.Certificate,
    issuer: x509.Certificate,
    crls: Sequence[x509.CertificateRevocationList],
    moment: datetime,
) -> None:
    """Check the one CRL that the record names against the authority, the moment and the certificate."""
    _check(told["issuer"] == issuer.subject.rfc4514_string(), "crl", "of another authority")
    named = [crl for crl in crls if crl.issuer == issuer.subject and str(_number(crl)) == told["number"]]
    genuine = [crl for crl in named if _is_genuine(crl, issuer)]
    _check(bool(genuine), "crl", f"number {told['number']} of {told['issuer']} is not in {TRUST_FILE}, or not genuine")
    crl = genuine[0]
    times = (_time(told["this_update"]), _time(told["next_update"]))
    _check((crl.last_update_utc, crl.next_update_utc) == times, "crl", "other times than the record says")
    _check(times[0] <= moment <= times[1], "crl", "not in force when the document was signed")
    revoked = crl.get_revoked_certificate_by_serial_number(child.serial_number)
    _check(revoked is None, "crl", "the certificate was revoked")


def _number(crl: x509.CertificateRevocationList) -> int | None:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, *certificates.UNREADABLE):
        return None


def _is_genuine(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Signed by the authority and complete: a critical extension would say that it is a part, or of something else."""
    try:
        if any(extension.critical for extension in crl.extensions):
            return False
        strong = isinstance(crl.signature_hash_algorithm, certificates.HASHES)
        return strong and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # judged on the path
    except certificates.UNREADABLE:
        return False


def _command(moment: datetime) -> str:
    return (
        f"openssl cms -verify -binary -inform DER -in {SIGNATURE_FILE} -content {DOCUMENT_FILE} -CAfile {TRUST_FILE} "
        f"-crl_check -purpose any -attime {int(moment.timestamp())}"
    )


def _fingerprint(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def _time(text: str) -> datetime:
    if not text.endswith("Z"):
        raise ValueError("not UTC")
    return datetime.fromisoformat(text)


def _check(holds: bool, check: str, text: str) -> None:
    if not holds:
        raise RecordError(check, text)


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
