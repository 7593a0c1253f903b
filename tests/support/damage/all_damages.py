"""Every way of being wrong that we know, one at a time, and what must be found then.

``stock`` says whether ``cvmfs_swissknife check`` (2.12.0, with ``-c``, over HTTP) finds
fault too; ``None`` where it does not survive the question, or answers differently from
one build to the next.
"""

from tests.support.damage.mounts_and_tables import MOUNTS, TABLES
from tests.support.damage.objects_and_published import OBJECTS, PUBLISHED
from tests.support.damage.reflog_and_history import HISTORY, REFERENCES
from tests.support.damage.rows_and_chunks import CHUNKS, ROWS

ALL_DAMAGES = (
    ROWS + CHUNKS + MOUNTS + TABLES + OBJECTS + PUBLISHED + REFERENCES + HISTORY
)
