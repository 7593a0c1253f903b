"""What an image is, said by somebody else: umoci unpacks it, and we compare."""

import subprocess
from pathlib import Path

from tests.support.compare import Listing, list_directory
from tests.support.distribution import tool
from workers.images.singularity import FOLDER, LINKS, MOUNT_POINTS, MOUNTED_FILES

_MARKER = b".cvmfscatalog"


def unpacked(layout: Path, tag: str, folder: Path) -> Listing:
    """Unpack an image with umoci, and list it."""
    subprocess.run(
        [tool("umoci"), "unpack", "--image", f"{layout}:{tag}", folder],
        check=True,
        capture_output=True,
    )
    return list_directory(folder / "rootfs")


def without_additions(listing: Listing, original: Listing) -> Listing:
    """Take out what we add for apptainer, as the README lists it, and the marker."""
    added = {*MOUNT_POINTS, *MOUNTED_FILES, *LINKS, b"var", _MARKER}
    return {
        path: entry
        for path, entry in listing.items()
        if path.split(b"/")[0] != FOLDER
        and not (path in added and path not in original)
    }
