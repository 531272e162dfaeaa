"""Run the command line of ``profiler``."""

import sys

if __name__ == "__main__":
    try:
        from profiler.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:  # so early that nothing was begun
        sys.exit(130)
