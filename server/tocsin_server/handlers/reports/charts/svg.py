"""SVG elements, everything in them escaped; and the area that a chart is drawn in."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape


def element(name: str, *content: str | Markup, **attributes: object) -> Markup:
    """One element. Text and values are escaped, elements in it are not. `class_` is class, `aria_label` aria-label."""
    words = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value)) for key, value in attributes.items()
    )
    inner = Markup("").join(escape(part) for part in content)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), words, inner)  # noqa: S704  # a name of ours, no data


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


@dataclass(frozen=True, slots=True)
class Area:
    """A drawing of `width` by `height` units, about a pixel each, with room for labels at its left and bottom."""

    name: str  # class of the drawing
    width: int
    height: int
    most_labels: int  # along the time axis

    LEFT = 58
    RIGHT = 14
    TOP = 10
    BOTTOM = 26

    @property
    def plot_width(self) -> int:
        """Of what is between the labels and the right edge."""
        return self.width - self.LEFT - self.RIGHT

    @property
    def base(self) -> int:
        """y of the time axis."""
        return self.height - self.BOTTOM

    def x(self, share: float) -> float:
        """Of a share of the window."""
        return self.LEFT + share * self.plot_width

    def y(self, share: float) -> float:
        """Of a share of the greatest value."""
        return self.base - share * (self.base - self.TOP)

    def drawing(self, title: str, *content: Markup) -> Markup:
        """The whole drawing; `title` is what a screen reader says of it."""
        return element(
            "svg",
            *content,
            class_=self.name,
            viewBox=f"0 0 {self.width} {self.height}",
            role="img",
            aria_label=title,
        )


WIDE = Area("wide", 720, 230, 9)
NARROW = Area("narrow", 350, 220, 4)
