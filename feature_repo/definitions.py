"""What ``feast apply`` finds: Feast reads the definitions from a module's names, so this one module has them.

The other modules of this folder hold functions and are listed in ``.feastignore``.
"""

import click

from feature_repo.repository import build_repository
from warehouse.errors import CbpError
from warehouse.settings import Settings

try:
    _repository = build_repository(Settings.from_environment())
except CbpError as error:
    # Feast's command line shows a ClickException as one line instead of a stack trace.
    raise click.ClickException(str(error)) from error

globals().update({f"definition_{number}": definition for number, definition in enumerate(_repository)})
