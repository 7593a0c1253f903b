"""Platforms of images: their normal form, and which image runs where.

One name may stand for images of several platforms. Where nobody says which, the first
one that the rule names is meant (``default``).

Source: containerd/platforms, ``database.go`` and ``compare.go``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from workers.documents.go_json import Struct
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

    @classmethod
    def said_in(cls, described: Struct) -> Self:
        """Return what an image's config, or an entry of an index, says.

        What is blank is not said, and empty in the result.
        """
        names = ("os", "architecture", "variant")
        return cls.of(*(described.text(name).strip() for name in names))

    @property
    def is_whole(self) -> bool:
        """Whether both operating system and architecture are said."""
        return bool(self.os and self.architecture)

    def may_be(self, other: Self) -> bool:
        """Tell whether what both say is the same, variants aside."""
        return all(
            not (ours and theirs) or ours == theirs
            for ours, theirs in (
                (self.os, other.os),
                (self.architecture, other.architecture),
            )
        )

    def filled(self, other: Self) -> Self:
        """Return it with what it does not say taken from another."""
        architecture = self if self.architecture else other
        return replace(
            self,
            os=self.os or other.os,
            architecture=architecture.architecture,
            variant=architecture.variant,
        )

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


ANY_PLATFORM = Platform("", "")
"""What nothing is said of."""


def best(offered: Iterable[tuple[Platform, T]], wanted: Platform) -> list[T]:
    """Return what is offered for the best platform that runs on the wanted one.

    Several are for the same platform then, in their order. What does not say what it is
    for is taken if nothing else will do and there is just one: its config will tell.

    Args:
        offered: each with the platform that it is for, as far as that is said.
        wanted: that it has to run on.
    """
    offers = list(offered)
    for each in wanted.suitable():
        if found := [offer for platform, offer in offers if platform == each]:
            return found
    unsaid = [
        offer
        for platform, offer in offers
        if not platform.is_whole and platform.may_be(wanted)
    ]
    return unsaid if len(unsaid) == 1 else []


def check_platform(built_for: Platform, wanted: Platform) -> None:
    """Refuse an image whose config says another platform.

    Only where no index has said what the image is for. Variants are not compared: no
    runtime does that where there is no choice.
    """
    if not built_for.may_be(wanted):
        raise WrongPlatform(
            f"the image is for {_shown(built_for)}, not for {wanted}: build it for "
            f"{wanted}"
        )


def difference(built_for: Platform, published_for: Platform) -> str | None:
    """Return in a sentence how a config and what its image is published for differ.

    Args:
        built_for: by the config.
        published_for: by the index, or by who wants it where there is none.
    """
    if not built_for.may_be(published_for):
        return (
            f"Its index says that it is for {published_for}, its config "
            f"{_shown(built_for)}: the index's word counts."
        )
    # A variant that the config does not say is the architecture's usual one.
    usual = Platform.of(built_for.os, built_for.architecture)
    if built_for in {usual, *published_for.suitable()} or not built_for.is_whole:
        return None
    return (
        f"It is published for {published_for}, its config says {_shown(built_for)}: "
        "not every such machine may run it."
    )


def _shown(platform: Platform) -> str:
    return printable(str(platform))[1:-1]


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
