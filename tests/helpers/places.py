"""Where the tests, their helpers and the checkout lie."""

from pathlib import Path

HELPERS = Path(__file__).parent
TESTS = HELPERS.parent
CHECKOUT = TESTS.parent
