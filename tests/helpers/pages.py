"""A browser to show pages with."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--allow-file-access-from-files",
)  # fmt: skip
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; apt-get install chromium")


def shown(page: Path, *flags: str) -> str:
    """The document that a browser makes of a page about which it complains of nothing."""
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={page.parent / 'browser'}", *flags, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=100, check=True, env={**os.environ, "HOME": str(page.parent)},
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def found_by(page: Path, *flags: str) -> Any:
    """What a page leaves in the ``data-found`` of its body."""
    document = shown(page, *flags)
    said = re.search(r'data-found="([^"]*)"', document)
    assert said, document[-2000:]
    return json.loads(html.unescape(said[1]))
