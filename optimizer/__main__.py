"""Run the command line of ``optimizer``."""

import sys

if __name__ == "__main__":
    try:
        from optimizer.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:  # so early that nothing was begun
        sys.exit(130)
