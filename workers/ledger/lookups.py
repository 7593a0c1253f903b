"""What is asked of the ledger without changing it.

What others have written into it is passed over or put aside, see ``odd.py``.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import redis

from workers.ledger import reading
from workers.ledger.deliveries import DeliveryRecord
from workers.ledger.odd import PREFIX, is_name, is_wrong_type, readable, typed
from workers.ledger.reading import as_fields, as_text
from workers.ledger.records import (
    Event,
    ImagePage,
    ImageRecord,
    LedgerCounters,
    LiveRecord,
    RunRecord,
    State,
)

T = TypeVar("T")


def images(
    connection: redis.Redis, references: Sequence[str]
) -> tuple[ImageRecord, ...]:
    """Return the records of the references that are known, in their order."""
    names = [name for name in references if is_name(name)]
    with connection.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.hgetall(f"{PREFIX}image:{name}")
        replies = pipeline.execute(raise_on_error=False)
    return tuple(
        _image(name, reply) for name, reply in zip(names, replies, strict=True) if reply
    )


def _image(name: str, reply: Mapping[object, object] | Exception) -> ImageRecord:
    if is_wrong_type(reply):
        return reading.unreadable_image(name, ["all of it"])
    return reading.image_from_fields(name, as_fields(known(reply)))


def names(connection: redis.Redis) -> list[str]:
    """Return all references that are known, in no order that lasts."""
    key = f"{PREFIX}images"
    reply = typed(connection, key, lambda: connection.zrange(key, 0, -1))
    return [name for name in map(as_text, reply) if is_name(name)]


def page(
    connection: redis.Redis,
    offset: int,
    limit: int,
    state: State | None,
    search: str | None,
) -> ImagePage:
    """Return a part of the listing; see ``Ledger.images``."""
    key = f"{PREFIX}images" if state is None else f"{PREFIX}state:{state}"
    return page_of(connection, key, offset, limit, search)


def page_of(
    connection: redis.Redis,
    key: str,
    offset: int,
    limit: int,
    search: str | None,
    hidden: Collection[str] = (),
) -> ImagePage:
    """Return a part of the listing under ``key``, as if it had none of ``hidden``."""
    if search or hidden:
        every = typed(connection, key, lambda: connection.zrevrange(key, 0, -1))
        found = [
            name
            for name in map(as_text, every)
            if (search or "") in name and name not in hidden
        ]
        total = len(found)
        shown = found[offset : offset + limit]
    else:
        total = typed(connection, key, lambda: connection.zcard(key))
        reply = connection.zrevrange(key, offset, offset + limit - 1)
        shown = [as_text(name) for name in reply]
    return ImagePage(total, images(connection, shown))


def runs(connection: redis.Redis, reference: str, limit: int) -> list[RunRecord]:
    """Return finished runs, newest first."""
    key = f"{PREFIX}runs:{reference}"
    reply = typed(connection, key, lambda: connection.lrange(key, 0, limit - 1))
    return list(readable("run", reading.run_from_json, map(as_text, reply)))


def lives(connection: redis.Redis, reference: str, limit: int) -> list[LiveRecord]:
    """Return what was live when, newest first."""
    key = f"{PREFIX}lives:{reference}"
    reply = typed(connection, key, lambda: connection.lrange(key, 0, limit - 1))
    return list(readable("life", reading.live_from_json, map(as_text, reply)))


def deliveries(connection: redis.Redis, limit: int) -> list[DeliveryRecord]:
    """Return deliveries, newest first."""
    key, bodies = f"{PREFIX}deliveries", f"{PREFIX}delivery"
    reply = typed(connection, key, lambda: connection.zrevrange(key, 0, limit - 1))
    ids = [name for name in map(as_text, reply) if is_name(name)]
    if not ids:
        return []
    texts = typed(connection, bodies, lambda: connection.hmget(bodies, ids))
    return [
        delivery
        for name, text in zip(ids, texts, strict=True)
        if text is not None and (delivery := _delivery(name, text)) is not None
    ]


def delivery(connection: redis.Redis, delivery_id: str) -> DeliveryRecord | None:
    """Return one delivery."""
    key = f"{PREFIX}delivery"
    text = typed(connection, key, lambda: connection.hget(key, delivery_id))
    return None if text is None else _delivery(delivery_id, text)


def _delivery(name: str, text: bytes | str) -> DeliveryRecord | None:
    def read(text: str) -> DeliveryRecord:
        return reading.delivery_from_text(name, text)

    return next(readable("delivery", read, [as_text(text)]), None)


def events(connection: redis.Redis, after: str | None, limit: int) -> list[Event]:
    """Return changes, oldest first; see ``Ledger.events``."""
    key = f"{PREFIX}events"
    if after is None:
        last = typed(connection, key, lambda: connection.xrevrange(key, count=limit))
        reply = (last or [])[::-1]
    else:
        later = f"({after}"
        reply = typed(
            connection, key, lambda: connection.xrange(key, later, count=limit) or []
        )
    entries = ((as_text(name), as_fields(fields or {})) for name, fields in reply)
    return list(
        readable("event", lambda entry: reading.event_from_fields(*entry), entries)
    )


def counts(connection: redis.Redis) -> dict[State, int]:
    """Return the number of references by state."""
    with connection.pipeline(transaction=False) as pipeline:
        for state in State:
            pipeline.zcard(f"{PREFIX}state:{state}")
        replies = pipeline.execute(raise_on_error=False)
    return {
        state: 0 if is_wrong_type(reply) else known(reply)
        for state, reply in zip(State, replies, strict=True)
    }


def counters(connection: redis.Redis) -> LedgerCounters:
    """Return the counters."""
    key = f"{PREFIX}counters"
    reply = typed(connection, key, lambda: connection.hgetall(key))
    return reading.counters_from_fields(as_fields(reply))


def known(reply: T | Exception) -> T:
    """Return a reply of a pipeline that is no error, or raise it."""
    if isinstance(reply, Exception):
        raise reply
    return reply
