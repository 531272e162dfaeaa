"""Run ``python -m profiler``."""

from profiler.cli import main

raise SystemExit(main())
