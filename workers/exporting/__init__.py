"""Taking a published image out of its repository, as one file or as many.

One file for each form: ``directory.py``, ``one_file.py`` (tar and squashfs),
``oci.py``, ``shrinkwrap.py``. What there is to write, and in which order, says
``archives/entries.py``.
"""

from workers.archives.outcome import Export, ExportFailed, Tell
from workers.exporting.destination import STANDARD_OUTPUT, new_file
from workers.exporting.directory import export_directory
from workers.exporting.oci import export_oci
from workers.exporting.one_file import export_squashfs, export_tar
from workers.exporting.shrinkwrap import specification
from workers.published.find import PublishedImage, find_image

__all__ = [
    "STANDARD_OUTPUT",
    "Export",
    "ExportFailed",
    "PublishedImage",
    "Tell",
    "export_directory",
    "export_oci",
    "export_squashfs",
    "export_tar",
    "find_image",
    "new_file",
    "specification",
]
