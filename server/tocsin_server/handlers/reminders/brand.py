"""Whose reminders they are: the name above them, and the colour of what is to be clicked."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin_server.messages.mail.addresses import BadAddress, parse_address
from tocsin_server.settings import MailSettings

_LINEAR_UP_TO, _GAMMA = 0.04045, 2.4


class Brand:
    """As the settings say. The name is that of the sender's address where no other is given."""

    def __init__(self, settings: MailSettings) -> None:
        self._name = settings.name or _name_of(settings.sender)
        self._colour = settings.colour

    @property
    def data(self) -> Mapping[str, object]:
        """What templates are given; it goes before data of the same name."""
        return {"sender_name": self._name, "colour": self._colour, "colour_text": text_on(self._colour)}


def text_on(colour: str) -> str:
    """Black or white: which of them is better read on #RRGGBB, by the contrast ratio of WCAG 2.2."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#ffffff" if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else "#000000"


def _linear(part: float) -> float:
    return part / 12.92 if part <= _LINEAR_UP_TO else ((part + 0.055) / 1.055) ** _GAMMA


def _name_of(address: str | None) -> str:
    try:
        return parse_address(address).name if address else ""
    except BadAddress:
        return ""  # the mailer refuses it
