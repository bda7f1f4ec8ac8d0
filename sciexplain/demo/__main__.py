"""`python -m sciexplain.demo`."""

import sys

from sciexplain.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
