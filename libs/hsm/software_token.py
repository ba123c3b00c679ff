"""`python -m libs.hsm.software_token`: an officer's token in software, with a signing key, as a registrar hands it out.

For demonstrations and tests; an officer's real token is none of the platform's. A process of its own, since a process
has one PKCS#11 module. Reads JSON from standard input, so that no PIN is on a command line:
`{"module": path, "label": token label, "pin": user PIN, "rsa": key label, "p256": key label}`; a key without a label is
not made. Needs SOFTHSM2_CONF. Raises what `provision_token` raises, and PKCS11Error.
"""

import json
import sys

import pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters

from libs.hsm.provision import provision_token


def make(module: str, label: str, pin: str, *, rsa: str = "", p256: str = "") -> None:
    """Provision the token and generate the keys in it: RSA-2048, P-256."""
    provision_token(module, label, f"so-{pin}", pin)
    with pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin=pin) as session:
        if rsa:
            session.generate_keypair(KeyType.RSA, 2048, store=True, label=rsa, id=b"1")
        if p256:
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
            parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
            parameters.generate_keypair(store=True, label=p256, id=b"2")


if __name__ == "__main__":
    make(**json.load(sys.stdin))
