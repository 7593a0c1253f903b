"""The CernVM-FS repository format, written and read without any other tool.

Knows nothing of images, registries, Redis or Flask, and imports nothing of ours.
"""

from workers.cvmfs.dirent import STORED, ZLIB, Chunk, Content, Directory, Dirent, Tree

__all__ = [
    "STORED",
    "ZLIB",
    "Chunk",
    "Content",
    "Directory",
    "Dirent",
    "Tree",
]
