"""A worker's entry in RQ's records, which its pages show.

RQ writes it at a worker's birth and then only prolongs it. What has lost it, by a
FLUSHALL or because Redis was silent for longer than it lasts, would be shown as a
worker without queues, or not at all, until it is started again.
"""

from rq import worker_registration
from rq.worker import BaseWorker


def stay_registered(worker: BaseWorker) -> None:
    """Write the entry of a living worker again, if any of it was lost."""
    connection, key = worker.connection, worker.key
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.hexists(key, "queues")
        # RQ itself may have written the rest again.
        pipeline.hexists(key, "state")
        pipeline.sismember(worker.redis_workers_keys, key)
        if all(pipeline.execute()):
            return
    with connection.pipeline() as pipeline:
        pipeline.hset(key, mapping={**worker.serialize(), "state": worker.get_state()})
        worker_registration.register(worker, pipeline)
        pipeline.expire(key, worker.worker_ttl + 60)
        pipeline.execute()
