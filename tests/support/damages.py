"""Every way of being wrong that we know, one at a time, and what must be found then.

``stock`` says whether ``cvmfs_swissknife check`` (2.12.0, with ``-c``, over HTTP) finds
fault too; ``None`` where it does not survive the question, or answers differently from
one build to the next.
"""

from tests.support.damaged_catalogs import MOUNTS, TABLES
from tests.support.damaged_files import OBJECTS, PUBLISHED
from tests.support.damaged_references import HISTORY, REFERENCES
from tests.support.damaged_rows import CHUNKS, ROWS

DAMAGES = ROWS + CHUNKS + MOUNTS + TABLES + OBJECTS + PUBLISHED + REFERENCES + HISTORY
