"""A receipt's folder, as anybody could hand it over: record.json, and behind it the three files beside it.

After most changes the record says of the CMS, the document and itself what is so, as whoever makes a folder sees to.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.record import Inclusion, receipt, record_of
from libs.contracts.signing import CrlChecked
from libs.crypto.merkle import leaf_hash
from libs.crypto.notes import Checkpoint
from libs.crypto.tiles import TiledLog
from libs.gpki_client.checkpoint import verifier_key
from libs.gpki_client.der import children
from libs.gpki_client.errors import RecordError
from libs.gpki_client.manifest import canonical
from libs.gpki_client.record import DOCUMENT_FILE, RECORD_FILE, SIGNATURE_FILE, TRUST_FILE, Pinned, verify_record
from tests.fuzz.mutating import mutate_bytes, mutate_der, mutate_json
from tests.fuzz.parsers.authority import fixed_key, tree
from tests.fuzz.parsers.note import LOG, WITNESS, note_of
from tests.fuzz.target import Target
from tests.support.documents import content, document, manifest, officer, sign, verified
from tests.support.pki import EPOCH, shared_rsa_key

_FILES = (RECORD_FILE, DOCUMENT_FILE, SIGNATURE_FILE, TRUST_FILE)
_BETWEEN = b"\n\0\n"
_BESIDE = ("log_position", "leaf_hash", "inclusion", "openssl")
_INDEX, _COUNT = 1, 3
_USER = "800101145566"


class _Folder:
    """Stands in for a `Path`, and for the files in it: nothing is written to be read again."""

    def __init__(self, files: dict[str, bytes], name: str = "") -> None:
        self._files, self._name = files, name

    def __truediv__(self, name: str) -> "_Folder":
        return _Folder(self._files, name)

    def read_bytes(self) -> bytes:
        return self._files[self._name]


def accepts(data: bytes) -> bool:
    """Whether it is proved to whoever pinned all keys; then it is one of the log, and proved to who pinned fewer."""
    files = _files(data)
    folder: Any = _Folder(files)
    root = _root()
    whole = _proved(folder, pinned=Pinned(root, verifier_key(LOG.text), verifier_key(WITNESS.text)))
    without_log = _proved(folder, root=root)
    _proved(folder)  # who pinned nothing may believe whatever a folder says; that it is a refusal or a proof, holds
    assert whole is None or without_log is not None
    if whole is None:
        return False
    assert whole.leaf_hash in _leaves()
    assert files[DOCUMENT_FILE] == content(whole.document_id)
    return True


def _proved(folder: Any, **believed: Any) -> Any:
    try:
        return verify_record(folder, **believed)
    except RecordError:
        return None


def _files(data: bytes) -> dict[str, bytes]:
    return dict(zip(_FILES, [*data.split(_BETWEEN), b"", b"", b""], strict=False))


@cache
def _leaves() -> set[str]:
    """Of the records that the corpus's log has."""
    seeds = [_files(file.read_bytes()) for file in TARGET.corpus.glob("seed-*")]
    return {json.loads(seed[RECORD_FILE])["leaf_hash"] for seed in seeds}


@cache
def _root() -> bytes:
    """Of the corpus: its key is the same whenever it is made anew, its bytes are not."""
    pem = _files((TARGET.corpus / "seed-00").read_bytes())[TRUST_FILE]
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.PEM)


def _mutate(data: bytes, random: Random) -> bytes:
    files = _files(data)
    match random.randrange(8):
        case 0:
            name = random.choice(_FILES)
            files[name] = mutate_bytes(files[name], random)
        case 1 | 2:
            files[SIGNATURE_FILE] = mutate_der(files[SIGNATURE_FILE], random)
        case 3 | 4:
            files[TRUST_FILE] = _trust(files[TRUST_FILE], random)
        case _:
            files[RECORD_FILE] = mutate_json(files[RECORD_FILE], random)
    if random.random() < 0.8:
        files[RECORD_FILE] = _agreeing(files)
    return _BETWEEN.join(files[name] for name in _FILES)


def _trust(pem: bytes, random: Random) -> bytes:
    """Another element in one of its certificates or CRLs."""
    blocks = pem.split(b"-----BEGIN ")
    number = random.randrange(len(blocks))
    label, _, rest = blocks[number].partition(b"-----\n")
    text, end, tail = rest.partition(b"-----END ")
    try:
        der = mutate_der(base64.b64decode(text), random)
    except ValueError:
        return mutate_bytes(pem, random)
    blocks[number] = label + b"-----\n" + base64.encodebytes(der) + end + tail
    return b"-----BEGIN ".join(blocks)


def _agreeing(files: dict[str, bytes]) -> bytes:
    """The record that says of the others what is so, if it can."""
    try:
        record = json.loads(files[RECORD_FILE])
        record["cms"] = base64.b64encode(files[SIGNATURE_FILE]).decode()
        record["document"]["sha256"] = hashlib.sha256(files[DOCUMENT_FILE]).hexdigest()
        record["certificate_path"][0] = hashlib.sha256(_officers(files[SIGNATURE_FILE])).hexdigest()
        logged = {name: value for name, value in record.items() if name not in _BESIDE}
        record["leaf_hash"] = leaf_hash(canonical(logged)).hex()
        return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return files[RECORD_FILE]


def _officers(cms: bytes) -> bytes:
    """The certificate that the signer's information names by its serial, or the first. Raises ValueError."""
    _, signed_data = children(cms)
    *_, held, infos = children(children(signed_data)[0])
    serial = children(children(children(infos)[0])[1])[1]
    certificates = children(held)
    return next((one for one in certificates if serial in one), certificates[0])


def seeds() -> Iterable[bytes]:
    """One of P-256 and one of RSA, in a log of two."""
    pki = tree()
    crls = {issuer: pki.crl(issuer, number=number) for number, issuer in ((7, pki.issuing), (3, pki.root))}
    told = tuple(_checked(der, issuer) for issuer, der in crls.items())
    records = []
    for key in (fixed_key(0x33), shared_rsa_key()):
        who = officer(pki, _USER, key=key)
        asked = manifest(_USER, [document(f"D{number}") for number in range(_COUNT)])
        event = verified(pki, sign(who, asked))[_INDEX].model_copy(update={"crls": told})
        records.append(record_of(event, root=asked.commitment().root, posted_at=EPOCH))
    leaves = [leaf_hash(canonical(record)) for record in records]
    log = TiledLog(len(leaves), {0: dict(enumerate(leaves))})
    note = note_of(Checkpoint(LOG.name, len(leaves), log.root(), EPOCH))
    for position, record in enumerate(records):
        whole = receipt(record, position, leaves[position], Inclusion(log.inclusion_path(position), note))
        files = {
            RECORD_FILE: json.dumps(whole, ensure_ascii=False).encode(),
            DOCUMENT_FILE: content(record["document"]["id"]),
            SIGNATURE_FILE: base64.b64decode(record["cms"]),
            TRUST_FILE: pki.trust_pem(*crls.values()),
        }
        yield _BETWEEN.join(files[name] for name in _FILES)


def _checked(der: bytes, issuer: Any) -> CrlChecked:
    crl = x509.load_der_x509_crl(der)
    assert crl.next_update_utc
    return CrlChecked(
        issuer=issuer.certificate.subject.rfc4514_string(),
        number=crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
    )


TARGET = Target("receipt", accepts, seeds, _mutate, max_size=64 * 1024)
