"""The description of a repository, which clients show as ``user.repo_metainfo``.

Its content is free; the keys are those of the skeleton that the stock tools write.

Source: cvmfs-format.md section 6.2.
"""

import json

_SKELETON = {
    "administrator": "",
    "email": "",
    "organisation": "",
    "description": "",
    "url": "",
    "recommended-stratum0": "",
    "recommended-stratum1s": [],
    "custom": {},
}


def empty_metainfo() -> bytes:
    """Return the description of a repository about which nothing was said."""
    return json.dumps(_SKELETON, indent=2).encode() + b"\n"
