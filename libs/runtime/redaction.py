"""What may not be printed: secrets by the name they stand under, by their type, and by how they look in a text."""

import re
import traceback
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Final
from uuid import UUID

from pydantic import ValidationError

REDACTED: Final = "[redacted]"

MAX_TEXT: Final = 2_000
"""Characters of one text in a log line."""

MAX_EXCEPTION: Final = 8_000
"""Characters of a rendered exception; the end is kept, where the cause is."""

MAX_ITEMS: Final = 50
"""Members of a mapping or sequence that are printed."""

MAX_DEPTH: Final = 5
"""Levels of nesting that are printed."""

_SECRET_WORDS: Final = frozenset(
    {"pin", "pins", "otp", "otps", "password", "passwd", "passphrase", "pwd", "secret", "secrets", "sealed", "token"}
    | {"tokens", "authorization", "authorisation", "assertion", "cookie", "code", "codes", "katalaluan"}
)
_SECRET_PAIRS: Final = re.compile(r"(private|secret|api|wrapped|sealing|hmac)_?key|kata_?laluan")
_SECRET_KEYS: Final = frozenset({"input", "input_value", "ctx"})
"""Under these pydantic's `errors()` repeats what it refused."""

_HARMLESS_KEYS: Final = frozenset(
    {"reason_code", "status_code", "exit_code", "error_code", "return_code", "reference_code", "token_label"}
)
"""Names that hold a secret word and no secret."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_NAMES: Final = (
    r"(?:(?:[a-z]{1,20}[_-]){0,3}(?:pin|otp|passwo?r?d|passphrase|secret|sealed|token|authori[sz]ation|assertion|cookie"
    r"|(?:private|api)[_ ]?key|kata[_ ]laluan)|(?<![a-z_])code)"
)
_ASSIGNED: Final = re.compile(
    rf"(?i)(?<![a-z0-9_-])({_NAMES})(\\?[\"']?\s*[:=]\s*)"
    r"((?:(?:SecretStr|SecretBytes|b)?\(?(\\?[\"']).*?(?:\4|$))|(?:Bearer|Basic)\s+\S+|[^\s,;)}\]]+)"
)
"""`pin=…`, `"otp": "…"`, `Authorization: Bearer …`: the value goes, whatever it looks like."""

_MENTIONED: Final = re.compile(
    r"(?i)(?<![a-z0-9])(pin|otp|password|passphrase|secret|kata laluan)((?:[^\w\n]{1,5}[a-z]{1,20}){0,5}[^\w\n]{1,5})"
    r"([0-9]{3}[ -][0-9]{3}\b|(?=[^\s,;)]{0,100}[0-9])[^\s,;)]{4,})"
)
"""`OTP for this request is 482913`: a word with digits shortly after the name of a secret goes."""

_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL)
_PYDANTIC_INPUT: Final = re.compile(r"input_value=(?:.*(?=, input_type=)|.*)")
_ROW: Final = re.compile(r"(Failing row contains |Key \([^)]{0,200}\)=)\(.{0,2000}?\)(?=[ .\n]|$)", re.DOTALL)
"""PostgreSQL quotes values in the DETAIL of constraint violations."""


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is never printed. Words count, not substrings: `shipping` is no `pin`."""
    if name.lower() in _HARMLESS_KEYS:
        return False
    if name.lower() in _SECRET_KEYS:
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    return not _SECRET_WORDS.isdisjoint(words) or _SECRET_PAIRS.search("_".join(words)) is not None


def scrub_text(text: str, limit: int = MAX_TEXT) -> str:
    """A text of at most `limit` characters without the secrets that can be told by their surroundings.

    A secret that stands alone in a text, without a name near it, cannot be told: never write one.
    """
    text = text[: 4 * limit]  # before the expressions, which are linear but not free
    text = _PEM.sub(REDACTED, text)
    text = _PYDANTIC_INPUT.sub(f"input_value={REDACTED}", text)
    text = _ROW.sub(rf"\1({REDACTED})", text)
    text = _ASSIGNED.sub(rf"\1\2{REDACTED}", text)
    text = _MENTIONED.sub(rf"\1\2{REDACTED}", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def scrub_exception(error: BaseException) -> str:
    """Type, scrubbed message and places of an exception and its causes; locals and rejected inputs never."""
    lines = traceback.TracebackException.from_exception(error, capture_locals=False, compact=True).format()
    text = "".join(lines)
    if len(text) > MAX_EXCEPTION:
        text = "…" + text[-MAX_EXCEPTION:]
    return scrub_text(text, limit=MAX_EXCEPTION + 1)


def validation_lines(error: ValidationError) -> list[str]:
    """`place: rule` of each error, without any value (pydantic repeats the input, SecretStr or not, in its message)."""
    return [
        f"{'.'.join(map(str, item['loc'])) or '(whole)'}: {item['msg']}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def scrub(value: object, depth: int = 0) -> object:  # noqa: C901, PLR0911 - one flat table of types
    """A JSON-able copy of a value, of bounded size; a type that is not known to be harmless gives its name only."""
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return scrub(value.value, depth)
        case str():
            return scrub_text(value)
        case date() | timedelta() | UUID() | Decimal():
            return str(value)
        case PurePath():
            return scrub_text(str(value))
        case bytes() | bytearray() | memoryview():
            return f"[{len(value)} bytes]"
        case ValidationError():
            return f"{type(value).__name__}: {scrub_text('; '.join(validation_lines(value)))}"
        case BaseException():
            return f"{type(value).__name__}: {scrub_text(str(value))}"
        case Mapping() | list() | tuple() | set() | frozenset() if depth >= MAX_DEPTH:
            return f"[{type(value).__name__}]"
        case Mapping():
            return scrub_mapping(value, depth)
        case list() | tuple() | set() | frozenset():
            items = [scrub(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
            return items if len(value) <= MAX_ITEMS else [*items, f"… ({len(value)} items)"]
        case _:
            return f"[{type(value).__name__}]"


def scrub_mapping(values: Mapping[object, object], depth: int = 0) -> dict[str, object]:
    """`scrub` of each value, and nothing at all of those under a secret name (None and booleans stay)."""
    result: dict[str, object] = {}
    for key, value in list(values.items())[:MAX_ITEMS]:
        name = scrub_text(str(key), limit=100)
        harmless = value is None or isinstance(value, bool) or not is_secret_name(name)
        result[name] = scrub(value, depth + 1) if harmless else REDACTED
    if len(values) > MAX_ITEMS:
        result["…"] = f"{len(values)} items"
    return result
