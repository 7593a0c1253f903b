"""Every module has a file of tests of its name, or a reason why it has none."""

from pathlib import Path

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
PACKAGES = ("webhook", "workers")
MOST_UNTESTED = 25
UNTESTED = {
    "webhook/cli.py": "only registers the verbs, each of which test_readme.py names",
    "webhook/web/json_answers.py": "test_api.py and test_steering.py meet all of it",
    "webhook/wire/limits.py": "constants; wire/test_server.py reaches each of them",
    "workers/archives/outcome.py": "two frozen values",
    "workers/config/source_kinds.py": "one table, which contracts/test_sender.py reads",
    "workers/cvmfs/catalog/schema.py": "the format's constants and SQL text;"
    " independent_audit.py reads catalogs back",
    "workers/cvmfs/checking/catalogs.py": "test_check.py goes through it in each test",
    "workers/cvmfs/errors.py": "errors without behaviour",
    "workers/cvmfs/garbage/progress.py": "values that collect.py fills",
    "workers/cvmfs/revisions/metainfo.py": "one constant document",
    "workers/cvmfs/values/dirent.py": "frozen values; trees and catalogs test them",
    "workers/errors.py": "three base classes without behaviour",
    "workers/images/layers/layer_tree.py": "one value, which test_builder.py and"
    " test_merge.py look into",
    "workers/images/resolved.py": "one frozen value",
    "workers/ledger/deliveries.py": "frozen values, which test_ledger.py hands over",
    "workers/ledger/scripts.py": "loads what test_ledger.py runs",
    "workers/media_types.py": "constants of two specifications",
    "workers/publishing/plan.py": "frozen values;"
    " contracts/test_publisher.py publishes each step",
    "workers/publishing/together.py": "Protocols and values; test_group.py and"
    " test_forged_batches.py commit by them",
    "workers/run/run.py": "one value that the stories of run/ pass around",
}


def modules() -> list[str]:
    """Return all modules but ``__init__.py``, as paths."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    )


def files_of(module: str) -> list[Path]:
    """Return where the tests of a module may be.

    In jobs and service, for what only a job or a process reaches, the rooms of both
    packages stand side by side; contracts has one file for each Protocol.
    """
    path = Path(module)
    name = f"test_{path.name}"
    room = path.parent.relative_to(path.parts[0])
    return [
        TESTS / "unit" / path.parent / name,
        TESTS / "jobs" / room / name,
        TESTS / "service" / room / name,
        TESTS / "contracts" / name,
    ]


def test_every_module_has_its_tests_or_a_reason() -> None:
    without = [
        module
        for module in modules()
        if module not in UNTESTED and not any(map(Path.is_file, files_of(module)))
    ]
    assert not without, (
        "make test_<module>.py in tests/unit, or where only a job or a process reaches"
        " it in tests/jobs or tests/service; or say in UNTESTED why not:\n"
        + "\n".join(without)
    )


def test_the_list_of_exceptions_is_short_and_true() -> None:
    assert len(UNTESTED) <= MOST_UNTESTED
    gone = sorted(UNTESTED.keys() - set(modules()))
    assert not gone, f"there is no such module any more: {gone}"
    tested = [one for one in UNTESTED if any(map(Path.is_file, files_of(one)))]
    assert not tested, f"these have tests by now, take them out: {tested}"
