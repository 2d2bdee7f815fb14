"""Settings as they may be shown, each with where it came from; and the secrets among them, for who must hide them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel, SecretStr

from tocsin_server.settings.choosing import Choice
from tocsin_server.settings.fields import ADDRESSES, ORIGIN_ONLY, Place, all_values, dotted, is_secret
from tocsin_server.settings.model import Settings
from tocsin_server.settings.sources import Given
from tocsin_server.settings.store import BELONGS
from tocsin_server.settings.values import show_duration
from tocsin_server.telemetry.redaction import (
    HIDDEN,
    secrets_beyond_origin,
    secrets_in_url,
    show_address,
    show_origin,
)

#: What is shown of a setting that has no value, and as the source of one that nobody gave.
NOTHING = "-"
DEFAULT = "default"
_HARMLESS = re.compile(r"[\w.-]*")


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting's value as it may be shown, and where it came from ("--listen", "REDIS_URL", "default", ...).

    `over` are the sources that gave a value, too, but come after that one. `unused` says why the value is not used, ""
    where it is.
    """

    setting: str
    shown: str
    source: str
    over: tuple[str, ...] = ()
    unused: str = ""


def origins(settings: Settings, given: Mapping[Place, Given], choice: Choice) -> tuple[Origin, ...]:
    """Where each setting came from, in the order of the documentation."""
    assumed: dict[Place, str] = {("store", name): value for name, value in settings.store.assumed().items()}
    found = []
    for place, value in all_values(settings):
        name, entry = dotted(place), given.get(place)
        if place == ("store", "provider") and entry is None:
            found.append(Origin(name, settings.store.kind, choice.because or DEFAULT))
        elif entry is None:
            fits = place[0] != "store" or settings.store.kind in BELONGS.get(place[1], (settings.store.kind,))
            found.append(Origin(name, assumed.get(place, _shown(place, value)) if fits else NOTHING, DEFAULT))
        elif place in choice.unused:
            found.append(Origin(name, _unchecked(place, entry.value), entry.source, entry.over, choice.unused[place]))
        else:
            found.append(Origin(name, _shown(place, value), entry.source, entry.over))
    return tuple(found)


def secrets_of(settings: BaseModel) -> list[str]:
    """All passwords in the settings, so that logs can hide them."""
    found = []
    for place, value in all_values(settings):
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            found += _secrets_in(place, text)
        elif isinstance(value, dict):  # by name
            found += [one.get_secret_value() for several in value.values() for one in several]
    return [secret for secret in found if secret]


def _secrets_in(place: Place, text: str) -> list[str]:
    if place in ORIGIN_ONLY:
        return secrets_beyond_origin(text)
    return secrets_in_url(text) if place[-1] in ADDRESSES else [text]


def shown_address(place: Place, address: str) -> str:
    """What may be seen of the address that is the setting at `place`."""
    return show_origin(address) if place in ORIGIN_ONLY else show_address(address)


def _unchecked(place: Place, value: object) -> str:
    """The same for a value that nobody looked at, so that anything may stand in it."""
    text = str(value)
    if is_secret(place) and place[-1] not in ADDRESSES:
        return HIDDEN
    # A name, a number, or what should have gone to the setting of an address.
    return text if not is_secret(place) and _HARMLESS.fullmatch(text) else shown_address(place, text)


def _shown(place: Place, value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={' '.join(HIDDEN for _ in several)}" for name, several in value.items()) or NOTHING
    if value is None or value == ():
        return NOTHING
    if isinstance(value, SecretStr):
        return shown_address(place, value.get_secret_value()) if place[-1] in ADDRESSES else HIDDEN
    if isinstance(value, timedelta):
        return show_duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
