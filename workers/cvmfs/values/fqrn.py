"""The fully qualified repository name, as ``unpacked.example.org``."""

import re

from workers.cvmfs.errors import Malformed

_FQRN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def check_fqrn(fqrn: str) -> None:
    """Refuse what cannot name a repository; it becomes part of file names, too.

    Source: cvmfs-format.md section 8, Limits.

    Raises:
        Malformed: other characters than letters, digits, ``-``, ``_``, ``.``, more
            than 60 of them, or a first one that is no letter or digit.
    """
    if _FQRN.fullmatch(fqrn) is None:
        raise Malformed(f"not a repository name: {fqrn[:80]!r}")
