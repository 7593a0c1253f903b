"""What the repository says of a publication: its receipt, and what was live before.

The receipt lies beside the name. Read first: ``history.py``.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from workers.formats.flat import RECEIPT
from workers.formats.history import former_documents, former_path, live_documents
from workers.formats.paths import metadata_path
from workers.images.manifest import parse_config, parse_manifest
from workers.images.platforms import Platform
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import FileAt, Publisher
from workers.reference import InvalidReference, Reference, parse_digest

HELD = "instead_of"
"""Key of the digest that the registry had when another was restored in its place."""
THIN = "thin"
"""Key of the reference under which its thin image is pushed."""
FORMER_THIN = "former_thin"
"""Key of the references under which thin images are that have to be deleted."""
UNTIL = "until"
"""Key of the unix time at which what is remembered was live no more."""

Receipt = dict[str, object]


def receipt_bytes(receipt: Mapping[str, object]) -> bytes:
    """Return a receipt as the file that is published."""
    return json.dumps(receipt, indent=1, sort_keys=True).encode() + b"\n"


def read_receipt(publisher: Publisher, reference: Reference) -> Receipt:
    """Return the receipt of what is live; empty if nothing of ours is."""
    return _parsed(publisher.read(metadata_path(reference) + b"/" + RECEIPT))


def digest_of(receipt: Mapping[str, object]) -> str | None:
    """Return the digest that was published."""
    try:
        return parse_digest(str(receipt.get("digest")))
    except InvalidReference:
        return None


def platforms_of(receipt: Mapping[str, object]) -> list[Platform]:
    """Return the platforms that a name was published for."""
    named = receipt.get("platforms")
    names = named if isinstance(named, list) else []
    return [Platform.parse(str(name)) for name in names]


def formats_of(receipt: Mapping[str, object]) -> list[str]:
    """Return the formats that were published."""
    named = receipt.get("formats")
    return list(map(str, named)) if isinstance(named, list) else []


def thin_of(receipt: Mapping[str, object]) -> Reference | None:
    """Return under which reference the thin image is pushed, if the receipt says so."""
    return next(iter(_references([receipt.get(THIN)])), None)


def former_thin_of(receipt: Mapping[str, object]) -> list[Reference]:
    """Return under which references thin images are that have to be deleted."""
    named = receipt.get(FORMER_THIN)
    return list(_references(named if isinstance(named, list) else []))


def remember(
    publisher: Publisher, reference: Reference, live: Mapping[str, object]
) -> Iterator[FileAt]:
    """Yield the files by which what is live now can be restored later.

    Args:
        publisher: of the repository.
        reference: of the name.
        live: its receipt.
    """
    digest = digest_of(live)
    if digest is None:
        return
    found = False
    for platform, places in live_documents(reference, platforms_of(live)):
        kept = former_documents(reference, digest, platform)
        data = {name: publisher.read(path) for name, path in places.items()}
        for name, document in data.items():
            if document is not None:
                found = True
                yield FileAt(kept[name], document)
    if found:
        settled = {key: value for key, value in live.items() if key != HELD}
        settled[UNTIL] = int(time.time())
        path = former_path(reference, digest) + b"/" + RECEIPT
        yield FileAt(path, receipt_bytes(settled))


def remembered(
    publisher: Publisher,
    reference: Reference,
    digest: str,
    platforms: Sequence[Platform],
) -> list[ResolvedImage]:
    """Return what the repository remembers of a digest, for some platforms."""
    images = []
    for platform in platforms:
        places = former_documents(reference, digest, platform)
        manifest, config = (publisher.read(path) for path in places.values())
        if manifest is None or config is None:
            continue
        parsed = parse_manifest(manifest)
        images.append(
            ResolvedImage(
                reference,
                digest,
                platform,
                f"sha256:{sha256(manifest).hexdigest()}",
                manifest,
                parsed,
                config,
                parse_config(config, len(parsed.layers)),
            )
        )
    return images


def _references(named: Sequence[object]) -> Iterator[Reference]:
    for name in named:
        # A damaged receipt only costs what it said.
        with contextlib.suppress(InvalidReference):
            if isinstance(name, str):
                yield Reference.parse(name)


def _parsed(raw: bytes | None) -> Receipt:
    if raw is None:
        return {}
    try:
        receipt = json.loads(raw)
    except ValueError:
        return {}
    return receipt if isinstance(receipt, dict) else {}
