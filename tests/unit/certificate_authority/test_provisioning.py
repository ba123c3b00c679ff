"""Which requests `init` finds."""

import pytest

from services.certificate_authority.issuance import Profile
from services.certificate_authority.provisioning import RequestRefused, requests_in


def put(pki_dir, name):
    file = pki_dir / "requests" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def test_requests_are_found_by_purpose_and_owner(tmp_path):
    for name in ("registrar/mygpki.csr.pem", "caller/igfmas.csr.pem", "caller/ehrmis.csr.pem", "caller/notes.txt"):
        put(tmp_path, name)
    put(tmp_path, "root/me.csr.pem")  # nobody becomes a root by asking
    found = [(request.purpose, request.owner) for request in requests_in(tmp_path)]
    assert found == [(Profile.CALLER, "ehrmis"), (Profile.CALLER, "igfmas"), (Profile.REGISTRAR, "mygpki")]


def test_no_folder_is_no_request(tmp_path):
    assert list(requests_in(tmp_path)) == []


@pytest.mark.parametrize("owner", ["", " igfmas", ".hidden", "ig fmas", "x" * 65, "pegawai,O=Palsu"])
def test_an_owner_that_is_no_name_is_refused(tmp_path, owner):
    put(tmp_path, f"caller/{owner}.csr.pem")
    with pytest.raises(RequestRefused):
        list(requests_in(tmp_path))
