"""Tags that publishing sets by itself: ``generic-2026-11-24T15:14:16Z``.

With them clients mount a repository as it was at a date, and an operator rolls back to
one. The stock tools tag each revision. We make thousands of revisions a day, and each
commit writes the whole history again, so there is a least time between two such tags,
a time after which they go, and a largest number of them. All with that form of a name
count, whoever set them.

Source: cvmfs/server/cvmfs_server_publish.sh, ``filter_auto_tags``; cvmfs-format.md
section 6.1.
"""

import time
from dataclasses import dataclass, replace

from workers.cvmfs.revisions.history import History, Tag

DESCRIPTION = "Generated from a commit by cvmfs-webhook"


@dataclass(frozen=True, slots=True)
class AutoTags:
    """Which revisions are tagged by themselves, and for how long.

    Attributes:
        keep_seconds: older tags go.
        every_seconds: at least so much time lies between two of them; 0: every
            revision gets one.
        most: of so many, the oldest go.
    """

    keep_seconds: int
    every_seconds: int
    most: int

    def maintain(self, history: History, revision: Tag) -> None:
        """Tag a new revision if it is time, and take away what is old.

        Args:
            history: of the commit that makes the revision.
            revision: what the tag is to say; its name does not count.
        """
        now = revision.timestamp
        last = history.newest_generic()
        if last is None or last <= now - self.every_seconds:
            tag = replace(revision, name=_name(now), description=DESCRIPTION)
            history.add_if_free(tag)
        history.prune_generic(_name(max(0, now - self.keep_seconds)), self.most)


def _name(moment: int) -> str:
    return time.strftime("generic-%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
