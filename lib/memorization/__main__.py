"""``python -m memorization``: see :mod:`memorization.runs.cli`."""

import sys

from memorization.runs.cli import main

if __name__ == "__main__":
    sys.exit(main())
