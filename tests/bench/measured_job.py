"""The worker of the benchmarks: the real one, whose horses say what they took."""

import json
import os
import resource
from pathlib import Path

from tests.bench.publishing_site import HORSE_FUNCTION, HORSE_REPORT
from workers import jobs
from workers.config import load_config
from workers.jobqueue import PATIENCE, run_worker
from workers.wiring import Front


def run(reference: str) -> str:
    """Do the job; write down processor time and memory of this process."""
    result = jobs.run(reference)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    report = Path(os.environ[HORSE_REPORT])
    aside = report.with_suffix(".new")
    aside.write_text(
        json.dumps(
            {
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "peak_mb": usage.ru_maxrss * 1024 / 1e6,
            }
        )
    )
    aside.rename(report)
    return result


if __name__ == "__main__":
    config = load_config(Path(os.environ["CVMFS_WEBHOOK_CONFIG"]), os.environ)
    with Front.open(config, **PATIENCE) as front:
        run_worker(
            front.connection,
            front.ledger,
            function=HORSE_FUNCTION,
            memory_mib=config.worker_memory_mib,
        )
