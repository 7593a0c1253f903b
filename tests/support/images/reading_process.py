"""A process of its own that reads layers, to see what that takes of its memory.

Run as ``python -m tests.support.images.reading_process BLOB…``: the layers of one image
are read side by side, as a worker does. Prints a JSON object: the reasons why layers
were refused, the steps of each, and the peak of memory in bytes.
"""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.images.block_stream import BlockStream
from tests.support.repositories.memory_sink import MemorySink
from workers.cvmfs import Chunk, Content
from workers.errors import WorkerError
from workers.images.layers.budget import Budget
from workers.images.layers.content import ContentPool
from workers.images.layers.merge import merge
from workers.images.layers.read import read_layer
from workers.images.layers.steps import Steps


class ForgetfulSink(MemorySink):
    """Says what content would be, and keeps none of it."""

    def put_bytes(self, data: bytes) -> Content:
        content = super().put_bytes(data)
        self.objects.clear()
        return content

    def put_piece(self, data: bytes, offset: int) -> Chunk:
        chunk = super().put_piece(data, offset)
        self.objects.clear()
        return chunk


def main(paths: list[str]) -> None:
    budget = Budget(20 << 30, 400_000)
    counts = [Steps() for _ in paths]
    reasons = []
    with (
        ContentPool(ForgetfulSink(), threads=2) as pool,
        ThreadPoolExecutor(3) as executor,
    ):
        blobs = [BlockStream(Path(path).read_bytes()) for path in paths]
        futures = [
            executor.submit(read_layer, blob, pool, budget, steps)
            for blob, steps in zip(blobs, counts, strict=True)
        ]
        layers = []
        for future in futures:
            try:
                layers.append(future.result())
            except WorkerError as error:
                reasons.append(str(error))
        try:
            merge(layers)
        except WorkerError as error:
            reasons.append(str(error))
    peak = 1024 * int(
        re.findall(r"VmHWM:\s*([0-9]+) kB", Path("/proc/self/status").read_text())[0]
    )
    steps = [count.taken for count in counts]
    sys.stdout.write(json.dumps({"reasons": reasons, "steps": steps, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1:])
