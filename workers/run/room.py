"""Whether there is room for what is about to be fetched.

Compressed layers are about as large as what is stored of them: its compression is
weaker than most, and what the repository has already is not stored again. What is far
too large is so found before it has filled the disk, and what just fits is tried.
"""

from collections.abc import Iterable

from workers.config import Config
from workers.config.disk_space import repository_disk, shown_size
from workers.errors import TransientError
from workers.images.manifest import Descriptor


class NoRoom(TransientError):
    """The disk of a repository is too full for an image, until somebody makes room."""


def check_room(config: Config, fqrn: str, layers: Iterable[Descriptor]) -> None:
    """Refuse to begin what the disk of a repository cannot hold.

    Args:
        config: has the repository.
        fqrn: its name; one in a bucket has room.
        layers: that would be fetched; one that is there twice is fetched once.

    Raises:
        NoRoom: trying again helps when there is room.
    """
    sizes = {layer.digest: layer.size for layer in layers}
    disk = repository_disk(config, fqrn) if sizes else None
    needed = sum(sizes.values())
    if disk is None or needed <= disk.free - disk.floor:
        return
    raise NoRoom(
        f"{fqrn}: No space left on device: layers of {shown_size(needed)} would be"
        f" fetched, its disk has {shown_size(disk.free)} free, of which"
        f" {shown_size(disk.floor)} stay (`disk_floor`); run `cvmfs-webhook repository"
        f" gc {fqrn}` or enlarge it"
    )
