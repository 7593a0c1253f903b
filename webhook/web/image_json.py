"""The JSON of an image, as the API answers it and design section 5.4 promises it.

What is *not* in it is as important: the token of a lease, the name of a worker and who
pushed are in the ledger and are nobody's business outside.
"""

from collections.abc import Mapping

from workers.documents.quantities import iso_time
from workers.formats.formats import uses
from workers.ledger import Event, ImageRecord, LiveRecord, Progress, RunRecord, State

# Stratum 1 servers and site proxies are told to keep a manifest for 61 seconds.
PROXY_SECONDS = 60

Json = dict[str, object]


def visible_by(image: ImageRecord, ttls: Mapping[str, int]) -> float | None:
    """Return when every client sees what is live, given the TTL of each repository.

    Replication to stratum 1 servers is not ours to know and not in it. None: what the
    registry has is not live, or the repository is not configured any more.
    """
    ttl = ttls.get(image.repository or "")
    if image.state is not State.LIVE or ttl is None:
        return None
    return image.since + ttl + PROXY_SECONDS


def cvmfs_places(image: ImageRecord) -> dict[str, str]:
    """Return where what is live is found, by format.

    Paths begin at a node's root; the others are names that an engine is given.
    """
    if image.repository is None or image.live_digest is None:
        return {}
    mount = f"/cvmfs/{image.repository}"
    return {
        name: f"{mount}{place}" if place.startswith("/") else place
        for name, place in image.places.items()
    }


def image_json(image: ImageRecord, ttls: Mapping[str, int]) -> Json:
    """Return what anybody may know of an image."""
    places = cvmfs_places(image)
    return {
        "reference": image.reference,
        "state": image.state.value,
        "digest": image.digest,
        "live_digest": image.live_digest,
        "revision": image.revision,
        "since": iso_time(image.since),
        "visible_by": iso_time(visible_by(image, ttls)),
        "reason": image.reason,
        "progress": _progress_json(image.progress),
        "last_run": None if image.last_run is None else run_json(image.last_run),
        "repository": image.repository,
        "path": next((use.text for use in uses(places) if use.key == "path"), None),
        "places": places,
        "size": image.size,
        "notes": list(image.notes),
        "converter": image.converter,
        "running": image.is_running,
        "next_try": iso_time(image.next_try),
        "restored_instead_of": image.restored_instead_of,
        "gone_since": iso_time(image.gone_since),
    }


def live_json(live: LiveRecord) -> Json:
    """Return what was live from some moment on; a digest of null is nothing."""
    return {
        "digest": live.digest,
        "since": iso_time(live.since),
        "revision": live.revision,
        "repository": live.repository,
    }


def _progress_json(progress: Progress | None) -> Json | None:
    if progress is None:
        return None
    return {
        "layers_done": progress.layers_done,
        "layers_total": progress.layers_total,
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
    }


def run_json(run: RunRecord) -> Json:
    """Return one run, without the secrets of who did it."""
    return {
        "number": run.number,
        "attempt": run.attempt,
        "outcome": None if run.outcome is None else run.outcome.value,
        "started": iso_time(run.started),
        "ended": iso_time(run.ended),
        "digest": run.digest,
        "reason": run.reason,
        "next_try": iso_time(run.next_try),
        "source": run.source,
        "seconds_by_stage": {
            stage: round(seconds, 3) for stage, seconds in run.seconds_by_stage.items()
        },
    }


def event_json(event: Event) -> Json:
    """Return one change; ``id`` is the cursor to go on from."""
    return {
        "id": event.id,
        "time": iso_time(event.time),
        "reference": event.reference,
        "state": event.state.value,
        "reason": event.reason,
        "digest": event.digest,
        "revision": event.revision,
    }
