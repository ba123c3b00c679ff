"""What an officer reads for each code, of a reason or of a problem of the API: Malay first, English beside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

Language = Literal["ms", "en"]
"""Malay is the source of meaning; English says the same."""

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

_FOLDER: Final = Path(__file__).with_name("texts")


@dataclass(frozen=True, slots=True)
class Text:
    """A heading, what happened (with what was or was not signed and posted), and what to do now."""

    title: str
    detail: str
    next_step: str


def text(code: str, language: Language, /, **values: object) -> Text:
    """The text of a reason code with its placeholders filled. More values than it uses do no harm.

    Raises KeyError for an unknown code, and for a value that the text needs and was not given.
    """
    return _filled(_catalogue(language)[code], values)


def problem_text(code: str, language: Language, /) -> Text:
    """The text of a code of `libs.contracts.problems`. Raises KeyError for an unknown code."""
    return _catalogue(f"http.{language}").get(code) or text(code, language)


def waiting_text(why: str, language: Language, /) -> Text | None:
    """The text of what `waiting` says that documents wait for; None for one that a later release knows."""
    return _catalogue(f"waiting.{language}").get(why)


def notice_text(code: str, language: Language, /, **values: object) -> Text:
    """The text of what an officer is told beside a request, with its placeholders filled.

    Raises KeyError for an unknown code, and for a value that the text needs and was not given.
    """
    return _filled(_catalogue(f"notices.{language}")[code], values)


def _filled(entry: Text, values: Mapping[str, object]) -> Text:
    return Text(*(getattr(entry, part).format_map(values) for part in Text.__slots__))


@cache
def _catalogue(name: str) -> Mapping[str, Text]:
    content: dict[str, dict[str, str]] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return {code: Text(**parts) for code, parts in content.items()}
