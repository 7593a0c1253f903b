"""What is asked of the ledger without changing it. Read-only."""

from collections.abc import Sequence

import redis

from workers.ledger import reading
from workers.ledger.reading import as_fields, as_text
from workers.ledger.records import (
    DeliveryRecord,
    Event,
    ImagePage,
    ImageRecord,
    LedgerCounters,
    LiveRecord,
    RunRecord,
    State,
)

PREFIX = "cvmfs-webhook:"


def images(
    connection: redis.Redis, references: Sequence[str]
) -> tuple[ImageRecord, ...]:
    """Return the records of the references that are known, in their order."""
    with connection.pipeline(transaction=False) as pipeline:
        for reference in references:
            pipeline.hgetall(f"{PREFIX}image:{reference}")
        replies = pipeline.execute()
    return tuple(
        reading.image_from_fields(reference, as_fields(reply))
        for reference, reply in zip(references, replies, strict=True)
        if reply
    )


def names(connection: redis.Redis) -> list[str]:
    """Return all references that are known, in no order that lasts."""
    reply = connection.zrange(f"{PREFIX}images", 0, -1)
    return [as_text(name) for name in reply]


def page(
    connection: redis.Redis,
    offset: int,
    limit: int,
    state: State | None,
    search: str | None,
) -> ImagePage:
    """Return a part of the listing; see ``Ledger.images``."""
    key = f"{PREFIX}images" if state is None else f"{PREFIX}state:{state}"
    if search:
        every = (as_text(name) for name in connection.zrevrange(key, 0, -1))
        found = [name for name in every if search in name]
        total = len(found)
        shown = found[offset : offset + limit]
    else:
        total = connection.zcard(key)
        reply = connection.zrevrange(key, offset, offset + limit - 1)
        shown = [as_text(name) for name in reply]
    return ImagePage(total, images(connection, shown))


def runs(connection: redis.Redis, reference: str, limit: int) -> list[RunRecord]:
    """Return finished runs, newest first."""
    reply = connection.lrange(f"{PREFIX}runs:{reference}", 0, limit - 1)
    return [reading.run_from_json(as_text(run)) for run in reply]


def lives(connection: redis.Redis, reference: str, limit: int) -> list[LiveRecord]:
    """Return what was live when, newest first."""
    reply = connection.lrange(f"{PREFIX}lives:{reference}", 0, limit - 1)
    return [reading.live_from_json(as_text(live)) for live in reply]


def deliveries(connection: redis.Redis, limit: int) -> list[DeliveryRecord]:
    """Return deliveries, newest first."""
    reply = connection.zrevrange(f"{PREFIX}deliveries", 0, limit - 1)
    ids = [as_text(one) for one in reply]
    if not ids:
        return []
    texts = connection.hmget(f"{PREFIX}delivery", ids)
    return [
        reading.delivery_from_text(name, as_text(text))
        for name, text in zip(ids, texts, strict=True)
        if text is not None
    ]


def delivery(connection: redis.Redis, delivery_id: str) -> DeliveryRecord | None:
    """Return one delivery."""
    text = connection.hget(f"{PREFIX}delivery", delivery_id)
    if text is None:
        return None
    return reading.delivery_from_text(delivery_id, as_text(text))


def events(connection: redis.Redis, after: str | None, limit: int) -> list[Event]:
    """Return changes, oldest first; see ``Ledger.events``."""
    key = f"{PREFIX}events"
    if after is None:
        reply = (connection.xrevrange(key, count=limit) or [])[::-1]
    else:
        reply = connection.xrange(key, min=f"({after}", count=limit) or []
    return [
        reading.event_from_fields(as_text(name), as_fields(fields or {}))
        for name, fields in reply
    ]


def counts(connection: redis.Redis) -> dict[State, int]:
    """Return the number of references by state."""
    with connection.pipeline(transaction=False) as pipeline:
        for state in State:
            pipeline.zcard(f"{PREFIX}state:{state}")
        return dict(zip(State, pipeline.execute(), strict=True))


def counters(connection: redis.Redis) -> LedgerCounters:
    """Return the counters."""
    return reading.counters_from_fields(
        as_fields(connection.hgetall(f"{PREFIX}counters"))
    )
