"""What breaks around the service: disk, keys, policy, configuration, queue server.

Each thing is broken while everything runs, an image is pushed that has to say so, and
once the thing is mended the image goes live. One service for the whole module; see
``tests.support.harness.service_with_registry`` for what must hold in the end.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.support.harness.service import OPERATOR
from tests.support.harness.service_with_registry import (
    ServiceWithRegistry,
    checked_reason,
    run_service_with_registry,
)
from tests.support.images.oci import plain_layer, tar_of
from tests.support.tools.mounting import may_mount, mount
from tests.support.tools.waiting import wait_until
from webhook.machine.first_start import FQRN
from workers.cvmfs import KeyRing, LocalStorage
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import WHITELIST

FORTY_DAYS = 40 * 24 * 3600
ACCEPTED = 202
SMALL, LARGE = "40m", "400m"

needs_mount = pytest.mark.skipif(not may_mount(), reason="mounting needs root")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceWithRegistry]:
    size = SMALL if may_mount() else ""
    folder = tmp_path_factory.mktemp("bad-surroundings")
    with run_service_with_registry(folder, storage_size=size) as made:
        made.wait_until_live(made.push_good("first:1"))
        yield made


def fails_until_mended(
    service: ServiceWithRegistry,
    reference: str,
    words: tuple[str, ...],
    mend: Callable[[], object],
) -> None:
    """See an image fail for a reason that names what to mend, and then go live."""
    image = service.process.wait_until(reference, "failed", "live")
    assert image["state"] == "failed"
    reason = checked_reason(image["reason"])
    for each in words:
        assert each in reason
    assert image["next_try"] is not None
    first = requests.get(
        f"{service.process.url}/cvmfs/{FQRN}/.cvmfspublished", timeout=9
    )
    assert first.ok
    mend()
    assert service.ask(reference).status_code == 202  # instead of waiting
    service.wait_until_live(reference)


@contextmanager
def elsewhere(path: Path) -> Iterator[None]:
    """Keep a file or folder away for a while."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


def readiness(service: ServiceWithRegistry) -> tuple[int, dict[str, str]]:
    answer = requests.get(f"{service.process.url}/readyz", timeout=10)
    checks = answer.json()["checks"]
    assert isinstance(checks, dict)
    return answer.status_code, checks


@needs_mount
def test_a_full_disk_breaks_nothing_and_work_goes_on_when_there_is_room(
    service: ServiceWithRegistry,
) -> None:
    noise = plain_layer(tar_of({"noise": os.urandom(60 << 20)}))
    reference = service.push("good/larger-than-the-disk:1", [noise])

    def make_room() -> None:
        assert "no problems" in service.process.run("repository", "check", FQRN)
        mount(service.process.storage, f"remount,size={LARGE}")

    fails_until_mended(service, reference, (FQRN, "No space left on device"), make_room)
    service.pushed.append(reference)


@needs_mount
def test_a_storage_that_cannot_be_written_is_told_and_waited_for(
    service: ServiceWithRegistry,
) -> None:
    storage = service.process.storage
    mount(storage, "remount,ro")
    try:
        reference = service.push("good/read-only:1")
        fails_until_mended(
            service,
            reference,
            (FQRN, "Read-only file system"),
            lambda: mount(storage, "remount,rw"),
        )
    finally:
        mount(storage, "remount,rw")


def test_missing_keys_are_told_and_waited_for(service: ServiceWithRegistry) -> None:
    away = elsewhere(service.process.key.parent)
    away.__enter__()
    reference = service.push("good/without-keys:1")
    fails_until_mended(
        service,
        reference,
        (f"keys of {FQRN}", "restore the files"),
        lambda: away.__exit__(None, None, None),
    )


def test_an_expired_whitelist_is_told_with_the_command_that_renews_it(
    service: ServiceWithRegistry,
) -> None:
    keys = KeyRing.load(FQRN, service.process.key.parent)
    assert keys.master_key is not None
    expired = write_whitelist(
        FQRN,
        [fingerprint(keys.certificate)],
        keys.master_key,
        now=int(time.time()) - FORTY_DAYS,
    )
    LocalStorage(service.process.storage).replace(WHITELIST, expired)
    reference = service.push("good/expired:1")
    fails_until_mended(
        service,
        reference,
        ("whitelist", "expired at", f"`repository resign {FQRN}`"),
        lambda: service.process.run("repository", "resign", FQRN),
    )


def test_a_broken_policy_leaves_the_old_one_in_force_and_says_so(
    service: ServiceWithRegistry,
) -> None:
    policy = service.process.folder / "policy.yaml"
    good = policy.read_text()
    service.process.write_policy("rules: [{allow: }, {frobnicate: 1}]")
    try:
        code, checks = readiness(service)
        assert code == 200
        assert "the last good one is in force" in checks["policy"]
        home = requests.get(service.process.url, timeout=10).text
        assert "The policy file is broken" in home
        assert "frobnicate" not in home
        ours = requests.get(service.process.url, headers=OPERATOR, timeout=10).text
        assert "frobnicate" in ours
        service.wait_until_live(service.push_good("under-the-old-policy:1"))
        checked = service.process.run_raw("policy", "check")
        assert checked.returncode == 2
        assert len(checked.stderr.splitlines()) > 1  # every mistake at once
    finally:
        policy.write_text(good)
    wait_until(lambda: readiness(service)[1]["policy"] == "ok", "the policy is mended")


def test_a_broken_configuration_disturbs_nobody_who_runs(
    service: ServiceWithRegistry,
) -> None:
    config = service.process.config
    good = config.read_text()
    config.write_text("sources: {hub: {kind: nonsense}}\nlimits: 7\nfrobnicate: 1\n")
    try:
        service.wait_until_live(service.push_good("while-it-is-edited:1"))
        done = service.process.run_raw("status")
    finally:
        config.write_text(good)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) > 2
    assert all(line.startswith("error: ") for line in lines)
    for key in ("sources.hub", "limits", "frobnicate"):
        assert any(key in line for line in lines), done.stderr


def test_what_cannot_be_kept_is_not_accepted(service: ServiceWithRegistry) -> None:
    with service.connection() as connection:
        connection.config_set("appendfsync", "everysec")
        try:
            code, checks = readiness(service)
            assert code == 503
            assert "appendfsync" in checked_reason(checks["durability"])

            def is_refused() -> bool:
                answer = service.notify("good/not-kept", "1")
                return answer.status_code == 503 and "Retry-After" in answer.headers

            wait_until(is_refused, "notifications are refused")
        finally:
            connection.config_set("appendfsync", "always")
    wait_until(lambda: readiness(service)[0] == 200, "it is ready again")
    service.push_good("kept:1")


@pytest.mark.parametrize("with_the_queue", [False, True])
def test_what_was_accepted_goes_live_though_the_receiver_is_killed_at_once(
    service: ServiceWithRegistry, *, with_the_queue: bool
) -> None:
    # The receiver enqueues the later ones of many together, after its answers.
    names = [f"good/accepted-{with_the_queue}-{n}".lower() for n in range(6)]
    for name in names:
        service.registry.push_image(name, "1", [tar_of({"name": name.encode()})])
    with service.connection() as connection:
        queue_server = connection.info("server")["process_id"]
    receivers = service.process.processes("serve")
    with requests.Session() as session:

        def is_accepted(name: str) -> bool:
            return service.notify(name, "1", session=session).status_code == ACCEPTED

        for name in names:
            # One of the receivers may still believe that Redis does not keep data.
            wait_until(partial(is_accepted, name), f"{name} is accepted")
    for process in [*receivers, *([queue_server] if with_the_queue else [])]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    for name in names:
        service.wait_until_live(service.reference(f"{name}:1"))
    service.pushed += [service.reference(f"{name}:1") for name in names]
