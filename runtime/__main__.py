"""Run the command line of ``runtime``."""

import sys

if __name__ == "__main__":
    try:
        from runtime.cli.main import main
        from runtime.hosts import exit_with

        exit_with(main)
    except KeyboardInterrupt:  # so early that nothing was begun
        sys.exit(130)
