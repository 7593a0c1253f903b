"""Names of images that are made of the names of others."""

from dataclasses import dataclass
from typing import Self

from workers.reference import InvalidReference, Reference

_SAMPLE = Reference("registry.example.org:5000", "group/image", "tag")


@dataclass(frozen=True, slots=True)
class ReferenceTemplate:
    """Such as ``registry.example.org/thin/{repository}:{tag}``.

    In place of ``{registry}``, ``{repository}`` and ``{tag}`` comes what the other
    image has. A port is set off by an underscore, as a colon would begin a tag.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what a configuration says.

        Raises:
            InvalidReference: it makes no name, or one name for several images.
        """
        template = cls(text)
        template.fill(_SAMPLE)
        if "{repository}" not in text or "{tag}" not in text:
            mend = "name both {repository} and {tag} in it"
            raise InvalidReference("template", text, mend)
        return template

    def fill(self, reference: Reference) -> Reference:
        """Return the name for an image that has a tag.

        Raises:
            InvalidReference: there is no such name; it may be too long.
        """
        values = {
            "{registry}": reference.registry.replace(":", "_"),
            "{repository}": reference.repository,
            "{tag}": reference.tag or "latest",
        }
        text = self.text
        for name, value in values.items():
            text = text.replace(name, value)
        return Reference.parse(text)
