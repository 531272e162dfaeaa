"""``import stageplan``: as a script, at a prompt, in a notebook; refused in a sentence where it cannot work."""

from pathlib import Path

import pytest
import torch
from commands import python
from pages import needs_browser, shown
from torch import nn

import stageplan
from profiler.shown import WIDE

pytestmark = pytest.mark.slow

EXAMPLE = """
import torch
from torch import nn
model = nn.Sequential(nn.Flatten(), nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
sample, validation_loader = torch.randn(8, 3, 2, 2), [(torch.randn(8, 3, 2, 2), torch.arange(8) % 5)]
loader = validation_loader * 6

import stageplan
profile = stageplan.profile(model, sample, budget_s=0.2)              # Profile; .save(path), stageplan.load(path)
plan = stageplan.plan(profile, stages=2)                # Plan
assert stageplan.plan(profile, stages=2, schedule="zero-bubble").update_every == 8
with stageplan.Pipeline(model, plan, update=stageplan.SGD(lr=0.01, momentum=0.9)) as pipeline:
    for epoch in range(3):
        result = pipeline.train(loader)                 # losses, samples/s, stages
        print(pipeline.evaluate(validation_loader))

model.load_state_dict(pipeline.state_dict())            # the model's own keys
print("updates:", pipeline.updates)
"""
WITH_A_CLASS = """
import torch, stageplan
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)
    def forward(self, x):
        return self.b(self.a(x))

{guard}
    profile = stageplan.profile(Net(), torch.randn(2, 4), budget_s=0.1)
    print(profile.layers[0].name)
    stageplan.plan(profile, stages=2).save("plan.json")
"""

MEASURED = """
const cell = document.getElementById("cell");
cell.dataset.lines = cell.innerText.replace(/\\n+$/, "").split("\\n").length;
"""


@pytest.mark.parametrize("argument", ["script.py", "-i"])
def test_the_example_runs_as_it_is_written_pasted_into_a_file_and_at_a_prompt(tmp_path: Path, argument: str) -> None:
    (tmp_path / "script.py").write_text(EXAMPLE)
    done = python(tmp_path, argument, stdin=EXAMPLE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("updates: 18\n"), done.stderr
    assert "Error" not in done.stderr


def test_a_class_of_the_script_needs_a_guard_and_a_missing_one_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "guarded.py").write_text(WITH_A_CLASS.format(guard='if __name__ == "__main__":'))
    (tmp_path / "unguarded.py").write_text(WITH_A_CLASS.format(guard="if True:"))
    done = python(tmp_path, "guarded.py")
    assert (done.returncode, done.stdout) == (0, "a\n"), done.stderr
    head, _, _ = WITH_A_CLASS.partition("{guard}")
    (tmp_path / "trains.py").write_text(f"{head}with stageplan.Pipeline(Net(), stageplan.load('plan.json')): pass")
    for script in ("unguarded.py", "trains.py"):
        done = python(tmp_path, script)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith('put what it does under if __name__ == "__main__":')
        assert done.stderr.count("Traceback") == 1, "that of the line in the script, and of no cause behind it"


@pytest.mark.parametrize("guard", ['if __name__ == "__main__":', "def main():"])
def test_a_class_that_other_processes_do_not_find_is_refused_in_a_sentence(guard: str, tmp_path: Path) -> None:
    head, _, body = WITH_A_CLASS.partition("class Net")
    inside = "".join(f"    {line}\n" for line in f"class Net{body.partition('{guard}')[0]}".splitlines())
    last = "" if guard.startswith("if") else '\nif __name__ == "__main__":\n    main()\n'
    script = f"{head}{guard}\n{inside}    stageplan.profile(Net(), torch.randn(2, 4), budget_s=0.1)\n{last}"
    (tmp_path / "script.py").write_text(script)
    done = python(tmp_path, "script.py")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("profiler.errors.CaptureError: the model cannot be sent to the process of a stage: ")
    assert "Net" in said
    assert said.endswith("define classes and functions at the top of a file")


def test_a_class_made_at_a_prompt_is_refused_in_a_sentence(tmp_path: Path) -> None:
    done = python(tmp_path, "-", stdin=WITH_A_CLASS.format(guard="if True:"))
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert "Net was defined in a notebook or at a prompt, where no other process can find it" in said


def test_nothing_heavy_is_imported_before_it_is_used(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", "import sys, stageplan; print('torch' in sys.modules, 'numpy' in sys.modules)")
    assert done.stdout == "False False\n"
    with pytest.raises(AttributeError, match="no public name 'nothing'"):
        _ = stageplan.nothing  # type: ignore[attr-defined]


def test_results_print_as_tables_show_as_html_and_are_kept_and_read_again(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 4))
    profile = stageplan.profile(model, torch.randn(4, 6), budget_s=0.1)
    plan = stageplan.plan(profile, stages=2)
    assert profile.model == plan.model == "Sequential"
    said = ("One training step: ", "Expected over 12 minibatches: ")
    for number, (result, words) in enumerate(zip((profile, plan), said, strict=True)):
        assert words in str(result)
        html = result._repr_html_()
        assert html.startswith("<pre>")
        assert words in html
        result.save(tmp_path / f"{number}.json")
        assert stageplan.load(tmp_path / f"{number}.json") == result


@needs_browser
def test_a_notebook_shows_a_table_as_a_browser_lays_it_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDE))  # a terminal of that width prints what a notebook shows
    model = nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 4))
    profile = stageplan.profile(model, torch.randn(4, 6), budget_s=0.1)
    page = f"<meta charset=utf-8><div id=cell>{profile._repr_html_()}</div><script>{MEASURED}</script>"
    (tmp_path / "cell.html").write_text(page)
    document = shown(tmp_path / "cell.html")
    lines = str(profile).count("\n") + 1
    assert f'data-lines="{lines}"' in document, "every row of the table is a line on the page"
