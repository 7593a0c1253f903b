"""The command line.

The verbs are a contract with users (design section 5.1); what each does stands in
``webhook/commands``.
"""

import click

from webhook.commands.explain import explain
from webhook.commands.images import publish, status
from webhook.commands.ledger import ledger
from webhook.commands.policy import policy
from webhook.commands.reconcile import reconcile
from webhook.commands.repository.export import export
from webhook.commands.repository.gc import gc
from webhook.commands.repository.look import repository
from webhook.commands.repository.prune import prune
from webhook.commands.repository.tags import resign_command, rollback, tag
from webhook.commands.service import serve, show_setup, up, worker
from webhook.commands.steering import cancel, remove, replay, restore, retry


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cvmfs-webhook")
def main() -> None:
    """Container images into CernVM-FS, seconds after the push."""


for command in (
    up,
    show_setup,
    serve,
    worker,
    reconcile,
    publish,
    status,
    retry,
    replay,
    cancel,
    remove,
    restore,
    policy,
    explain,
    ledger,
    repository,
):
    main.add_command(command)
for command in (export, gc, prune, tag, rollback, resign_command):
    repository.add_command(command)

if __name__ == "__main__":
    main()
