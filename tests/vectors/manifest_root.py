"""Write tests/vectors/manifest_root.json from the specification alone: `python -m tests.vectors.manifest_root`.

Imports nothing of ours, so that the vectors judge the product and not the other way round:
root = SHA-256("gpki.root.v1" ‖ SHA-256(JCS(header)) ‖ MTH), MTH = RFC 6962 section 2.1 over JCS(document), each leaf
SHA-256(0x00 ‖ JCS(document)), each node SHA-256(0x01 ‖ left ‖ right), split at the largest power of two below n.
JCS is RFC 8785; every value is a string and every name ASCII, so that it is sorted names, no spaces, and the shortest
escapes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")

TITLES = [
    "Bayaran bekalan alat tulis pejabat",
    "Tuntutan perjalanan: Café “Seri Négara” – 3 hari",
    "付款凭证 支付予供应商",
    "கொடுப்பனவு சீட்டு",
    "سند دفع لمورد",
    'Escapes: \\ " / and nothing else',
    "Beyond the first plane: 🧾 𝄞 𠮷",
    "e\u0301 is not é: nothing is normalised",
]
AMOUNTS = ["0.00", "0.01", "12345.67", "999999999999999.99", "100.10"]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def jcs(value: dict[str, str]) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def tree(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    at = split(len(leaves))
    return sha256(b"\x01" + tree(leaves[:at]) + tree(leaves[at:]))


def path(leaves: list[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    at = split(len(leaves))
    if index < at:
        return [*path(leaves[:at], index), tree(leaves[at:])]
    return [*path(leaves[at:], index - at), tree(leaves[:at])]


def manifest(name: str, count: int, *, plain: bool = False) -> dict[str, Any]:
    header = {
        "request": f"vector-{name}",
        "caller": "igfmas",
        "system": "iGFMAS",
        "user": "800101145566",
        "office": "JANM-01",
        "action": "peraku" if count % 2 else "sah",
        "count": str(count),
    }
    documents = [
        {
            "id": f"8d1c3b1e-0000-4000-8000-{number:012d}",
            "kind": "baucar_bayaran",
            "title": TITLES[0] if plain else TITLES[number % len(TITLES)],
            "payee": "Syarikat Maju Sdn. Bhd." if plain else TITLES[(number + 3) % len(TITLES)],
            "amount": AMOUNTS[number % len(AMOUNTS)],
            "currency": "MYR",
            "sha256": sha256(f"document {name} {number}".encode()).hex(),
        }
        for number in range(count)
    ]
    return {"header": header, "documents": documents}


def vector(name: str, made: dict[str, Any], indexes: list[int]) -> dict[str, Any]:
    leaves = [sha256(b"\x00" + jcs(document)) for document in made["documents"]]
    header_hash = sha256(jcs(made["header"]))
    root = sha256(b"gpki.root.v1" + header_hash + tree(leaves))
    return {
        "name": name,
        "manifest": made,
        "header_hash": header_hash.hex(),
        "root": root.hex(),
        "signature_input": (b"gpki.request-signature.v1" + root).hex(),
        "paths": {str(index): [node.hex() for node in path(leaves, index)] for index in indexes},
    }


def vectors() -> list[dict[str, Any]]:
    made = [vector(f"{count}", manifest(f"{count}", count), list(range(count))) for count in (1, 2, 3, 7)]
    made.append(vector("unicode", manifest("unicode", len(TITLES)), list(range(len(TITLES)))))
    ends = [0, 1, 127, 255, 256, 383, 498, 499]
    made.append(vector("500", manifest("500", 500, plain=True), ends))
    return made


def text() -> str:
    return json.dumps({"vectors": vectors()}, ensure_ascii=True, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
