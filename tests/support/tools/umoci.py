"""What an image is, said by somebody else: umoci unpacks it, and we compare."""

import dataclasses
import subprocess
from pathlib import Path

from tests.support.images.tree_listing import Listing, list_directory
from tests.support.tools.programs import require_program
from workers.formats.singularity import FOLDER, LINKS, MOUNT_POINTS, MOUNTED_FILES

_MARKER = b".cvmfscatalog"
# What a catalog can hold of an attribute; the job tells how many it could not.
_XATTR_BYTES = 255


def umoci_unpack(layout: Path, tag: str, folder: Path) -> Listing:
    """Unpack an image with umoci, and list it."""
    subprocess.run(
        [require_program("umoci"), "unpack", "--image", f"{layout}:{tag}", folder],
        check=True,
        capture_output=True,
    )
    return list_directory(folder / "rootfs")


def without_our_additions(listing: Listing, original: Listing) -> Listing:
    """Take out what we add for apptainer, as the README lists it, and the marker."""
    added = {*MOUNT_POINTS, *MOUNTED_FILES, *LINKS, b"var", _MARKER}
    return {
        path: entry
        for path, entry in listing.items()
        if path.split(b"/")[0] != FOLDER
        and not (path in added and path not in original)
    }


def as_cvmfs_holds_it(listing: Listing) -> Listing:
    """Return a listing as far as a catalog can hold it.

    Names of one file in different directories become files of their own.
    """
    return {
        path: dataclasses.replace(
            entry,
            linked=b"",
            xattrs=tuple(x for x in entry.xattrs if len(x[1]) <= _XATTR_BYTES),
        )
        for path, entry in listing.items()
    }
