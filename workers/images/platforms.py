"""Platforms of images: their normal form, and which image runs where.

One name may stand for images of several platforms. Where nobody says which, the first
one that the rule names is meant (``default``).

Source: containerd/platforms, ``database.go`` and ``compare.go``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from workers.images.rejected import ImageRejected, printable

T = TypeVar("T")

_ALIASES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_DEFAULT_VARIANTS = {"arm": "v7"}
_LOWEST_VARIANTS = {"amd64": 1, "arm": 5, "arm64": 8}
_NEEDLESS_VARIANTS = frozenset({("amd64", "v1"), ("arm64", "v8")})


class WrongPlatform(ImageRejected):
    """An image that was not built for what it is wanted for."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, as ``os/architecture[/variant]``, in its normal form."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def of(cls, system: str, architecture: str, variant: str = "") -> Self:
        """Return the normal form of what tools call a platform.

        Source: containerd/platforms, ``normalizeArch``.
        """
        architecture, variant = architecture.lower(), variant.lower()
        architecture, implied = _ALIASES.get(architecture, (architecture, variant))
        variant = variant or implied or _DEFAULT_VARIANTS.get(architecture, "")
        if variant.isdigit():
            variant = f"v{variant}"
        if (architecture, variant) in _NEEDLESS_VARIANTS:
            variant = ""
        return cls(system.lower(), architecture, variant)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``linux/amd64`` or ``linux/arm64/v8``."""
        system, _, rest = text.partition("/")
        architecture, _, variant = rest.partition("/")
        return cls.of(system, architecture, variant)

    def __str__(self) -> str:
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.os}/{self.architecture}{variant}"

    def suitable(self) -> tuple["Platform", ...]:
        """Return the platforms whose images run on this one, the best first.

        An image for an older variant of the same architecture does. One for another
        architecture (386 on amd64) may, but nobody who asks for amd64 means it.

        Source: containerd/platforms, ``platformVector``.
        """
        lowest = _LOWEST_VARIANTS.get(self.architecture)
        number = (self.variant or _DEFAULT_VARIANTS.get(self.architecture, ""))[1:]
        if lowest is None or not number.isdecimal():
            return (self,)
        return tuple(
            Platform.of(self.os, self.architecture, f"v{older}")
            for older in range(int(number), lowest - 1, -1)
        )


def choose(
    offered: Mapping[Platform, T], wanted: Platform, unsaid: Sequence[T] = ()
) -> T | None:
    """Return what is offered for the best platform that runs on the wanted one.

    Args:
        offered: by the platform that each is for.
        wanted: that it has to run on.
        unsaid: what is offered without saying for what. If nothing else will do and
            there is just one, it is that: its config will tell.
    """
    for each in wanted.suitable():
        if each in offered:
            return offered[each]
    return unsaid[0] if len(unsaid) == 1 else None


def check_platform(built_for: Platform, wanted: Platform) -> None:
    """Refuse an image that was built for another platform."""
    if built_for not in wanted.suitable():
        shown = printable(str(built_for))[1:-1]
        raise WrongPlatform(
            f"the image is for {shown}, not for {wanted}: build it for {wanted}"
        )


def no_platform(offered: Iterable[Platform], wanted: Platform) -> WrongPlatform:
    """Return the error that says which platforms an image has instead."""
    names = printable(", ".join(sorted(map(str, offered))))[1:-1] or "none"
    return WrongPlatform(
        f"the image has no platform {wanted}; it has {names}: build it for {wanted}"
    )


def default(images: Sequence[T]) -> T:
    """Return the image for clients that do not say what they are: the first one.

    Args:
        images: of one name, one for each platform, in the order of the rule.
    """
    return images[0]
