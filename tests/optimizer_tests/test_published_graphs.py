"""The optima of the profiles that PipeDream published, as the script that compares planners prints them."""

import runpy
import sys

import pytest
from places import CHECKOUT, TESTS


def test_the_published_profiles_have_the_known_optima_in_four_stages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["published_graphs.py", str(TESTS / "data")])
    runpy.run_path(str(CHECKOUT / "benchmarks" / "published_graphs.py"))["main"]()
    rows = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines()[2:]]
    found = {name.strip(): bottleneck_ms.strip() for name, bottleneck_ms in rows}
    assert found == {"alexnet": "28.721", "vgg16": "216.450", "resnet50": "111.497"}
