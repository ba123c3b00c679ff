"""Which PINs are too easy to guess (NIST SP 800-63B-4 section 3.1.1.2: a blocklist, and no rules of composition)."""

import re
import unicodedata
from itertools import groupby, pairwise

from libs.crypto.secrets import normal_pin

FREE_MIN = 5
"""Characters of a PIN that must be left when everything that is guessed first is taken away."""

_RUN = 3
"""Neighbours in a row that make a sequence, or a repeat."""

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qazwsxedcrfv", "1qaz2wsx3edc")
"""What fingers walk on a keyboard, beside the orders of alphabet and digits."""

_LEET = str.maketrans("01345789@$!|", "oieastbgasii")

_COMMON = (
    *("password", "passwort", "passphrase", "passcode", "katalaluan", "katakunci", "rahsia", "secret", "welcome"),
    *("selamat", "datang", "admin", "pentadbir", "administrator", "letmein", "login", "master", "user", "pengguna"),
    *("qwerty", "iloveyou", "sayang", "sunshine", "princess", "football", "bolasepak", "dragon", "monkey", "superman"),
    *("malaysia", "merdeka", "putrajaya", "kualalumpur", "selangor", "johor", "sabah", "sarawak", "perak", "kedah"),
    *("gpki", "mygpki", "igfmas", "janm", "akauntan", "negara", "kerajaan", "baucar", "roaming", "sijil", "digital"),
    *("bismillah", "alhamdulillah", "allah", "muhammad", "ramadan", "jabatan", "pejabat", "default", "changeme"),
)
"""What lists of leaked passwords begin with, in English and Malay, and the words of this platform."""


def is_weak(pin: str, *, user: str) -> bool:
    """Whether too little of the PIN is left without what is guessed first; `user` is the No. Kad Pengenalan.

    Taken away, whatever the case: the user's number, its birth date in every usual order, and its last digits; common
    words, also written as in P@ssw0rd; sequences of alphabet, digits or keyboard, either way; repeats of one character
    or of a group of up to four. Blind to composition: of eight digits that chance makes, 2 in 100 are refused.
    Raises SecretsError (length).
    """
    left = _plain(normal_pin(pin))
    for piece in _personal(user):
        left = left.replace(piece, " ")
    for word in sorted(_COMMON, key=len, reverse=True):
        left = re.sub(_as_written(word), " ", left)
    left = _without_repeats(_without_sequences(left))
    return len(left.replace(" ", "")) < FREE_MIN


def _plain(pin: str) -> str:
    """Case and form folded; separators, which nobody has to guess, away."""
    return re.sub(r"[\s._/,:;+*#-]", "", unicodedata.normalize("NFKC", pin).casefold())


def _personal(user: str) -> list[str]:
    """The number, and what it says of its holder: YYMMDD, the state, four digits."""
    pieces = {user.casefold()}
    if re.fullmatch(r"[0-9]{12}", user):
        year, month, day = user[:2], user[2:4], user[4:6]
        for century in ("19", "20", ""):
            full = century + year
            pieces |= {full + month + day, day + month + full, month + day + full}
        pieces |= {user[6:], user[8:], user[:2] + user[8:]}
    return sorted(pieces, key=len, reverse=True)


def _as_written(word: str) -> str:
    """A pattern for the word with any of its letters replaced by the digit or sign that looks like it."""
    return "".join(f"[{letter}{''.join(_alike(letter))}]" for letter in word)


def _alike(letter: str) -> list[str]:
    return [re.escape(chr(sign)) for sign, meant in _LEET.items() if chr(int(meant)) == letter]


def _follows(a: str, b: str) -> int:
    """1 when `b` comes next after `a`, -1 when before it, 0 otherwise."""
    if a.isalnum() and b.isalnum() and abs(ord(a) - ord(b)) == 1:
        return ord(b) - ord(a)
    if a + b in {"90", "09"}:
        return 1 if a == "9" else -1
    for row in _ROWS:
        if a + b in row:
            return 1
        if b + a in row:
            return -1
    return 0


def _without_sequences(text: str) -> str:
    steps = [0, *(_follows(a, b) for a, b in pairwise(text))]
    drop: set[int] = set()
    at = 0
    for step, group in groupby(steps):
        length = len(list(group))
        if step and length + 1 >= _RUN:
            drop.update(range(at - 1, at + length))
        at += length
    return "".join(" " if index in drop else character for index, character in enumerate(text))


def _without_repeats(text: str) -> str:
    """Of a group that stands several times in a row, nothing is left: the first time is guessed as well."""
    text = re.sub(rf"(\S)\1{{{_RUN - 1},}}", " ", text)
    return re.sub(r"(\S{2})\1{2,}|(\S{3,4})\2+", " ", text)
