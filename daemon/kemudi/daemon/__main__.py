"""`python -m kemudi.daemon`: the daemon with settings from `KEMUDI_*` variables alone."""

import sys

from kemudi.daemon.service import run
from kemudi.daemon.settings import settings_from_environ
from kemudi.schema.errors import KemudiError

if __name__ == "__main__":
    try:
        sys.exit(run(settings_from_environ()))
    except KemudiError as error:
        print(f"kemudi: {error}", error.hint or "", sep="\n        ", file=sys.stderr)  # its only talk
        sys.exit(error.exit_code)
