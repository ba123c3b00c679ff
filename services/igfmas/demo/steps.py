"""The slides' 14 steps by name, in Malay and English; what a step is here stands in `services/README.md`."""

from typing import Final

STEPS: Final = {
    1: ("Pengguna log masuk ke sistem iGFMAS", "the officer logs in to iGFMAS"),
    2: ("Buka dokumen di STH, tekan butang sah/peraku", "opens the document in the work list, presses sah/peraku"),
    3: ("Semak ID pengguna (kad pengenalan) melalui GPKI API", "asks the GPKI API about the user"),
    4: ("Dapatkan medium pengguna daripada JDN", "which medium has this user?"),
    5: ("Maklumat medium diterima", "the medium is known"),
    6: ("GPKI API meminta OTP bagi pengguna", "asks for an OTP"),
    7: ("OTP dihantar ke e-mel pengguna", "the OTP goes to the officer's e-mail"),
    8: ("Skrin signing: masukkan PIN Sijil Digital dan OTP", "the officer enters certificate PIN and OTP"),
    9: ("Program mendapatkan status signing", "asks for the status of the signing"),
    10: ("Status signing daripada pelayan Roaming OTP", "the signing server answers"),
    11: ("Skrin verifikasi: pengesahan dokumen", "verification of the document"),
    12: ("Pengesahan dengan pelayan CRL", "checked against the CRL server"),
    13: ("Tandatangan berjaya", "the signature succeeded"),
    14: ("Dokumen posted, maklumat signing disimpan", "posted, signing information kept"),
}


def step_line(number: int, what: str) -> str:
    """One line: number, both names, what happened."""
    malay, english = STEPS[number]
    return f"[{number:>2}/14] {malay} / {english}: {what}"
