"""``python -m changecap`` is the command ``changecap``."""

import sys

from .cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
