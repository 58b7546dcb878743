"""The group of all commands."""

from __future__ import annotations

import click
from dotenv import load_dotenv

from cbp.commands import analysis, data, models, proofs, service
from cbp.terminal import Commands
from warehouse.settings import PROJECT_ROOT, Settings


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Profile customers' behaviour and score payments for fraud.

    State lives below CBP_HOME (by default data/), models below CBP_MODELS, reports below CBP_REPORTS.
    Settings may stand in a file .env in the project's root.
    """
    load_dotenv(PROJECT_ROOT / ".env")
    context.obj = Settings.from_environment()


for _module in (data, models, analysis, service, proofs):
    for _command in _module.COMMANDS:
        main.add_command(_command)
