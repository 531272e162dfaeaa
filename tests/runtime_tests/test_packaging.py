import subprocess
import sys
import zipfile
from pathlib import Path

from places import CHECKOUT


def test_the_wheel_holds_the_packages_and_the_configurations(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("stageplan-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"optimizer", "profiler", "runtime", "stageplan"}
    assert {f"{package}/py.typed" for package in packages} <= names
    code = (
        "from profiler.settings import config as c, configs_folder; print(configs_folder(), c.for_model('vgg16').model)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "installed", capture_output=True, text=True, check=True
    )
    folder, model = done.stdout.split()
    assert Path(folder) == (tmp_path / "installed" / "profiler" / "configs").resolve()
    assert model == "vgg16"
