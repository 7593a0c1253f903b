"""One platform of an image, pinned by digest: what a run works on."""

from dataclasses import dataclass

from workers.images.manifest import ImageConfig, ImageManifest
from workers.images.platforms import Platform, difference
from workers.reference import Reference


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """One platform of an image, pinned.

    Attributes:
        reference: as it was pushed.
        digest: what the registry gives for it; of an index, if it is one.
        platform: the one that was chosen.
        manifest_digest: of the platform's manifest.
        raw_manifest: its bytes.
        raw_config: the config's bytes.
    """

    reference: Reference
    digest: str
    platform: Platform
    manifest_digest: str
    raw_manifest: bytes
    manifest: ImageManifest
    raw_config: bytes
    config: ImageConfig

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be known of it when it is live, one short sentence each."""
        said = difference(self.config.platform, self.platform)
        return () if said is None else (said,)
