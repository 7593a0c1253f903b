"""What every process that has a repository at hand does for it, every hour."""

from workers.care.reserve import keep_reserves
from workers.care.whitelists import renew_whitelists
from workers.config import Config


def care_for_repositories(config: Config) -> None:
    """Renew what comes near its end, and keep a reserve of room on each disk."""
    renew_whitelists(config)
    keep_reserves(config)
