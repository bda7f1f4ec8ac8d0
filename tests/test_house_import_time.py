"""Importing is cheap: what is heavy is loaded when it is used. Counted in modules, never on a clock."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "pandas", "xarray", "dask", "zarr", "h5netcdf")
FOR_ONE_USE = ("mne", "rdkit", "matplotlib", "sklearn", "jinja2", "pooch", "requests", "IPython", "ale_py")

TOUCH_ALL = "import sciexplain as sx\nfor name in sx.__all__: getattr(sx, name)"


def loaded(code, packages):
    """Those of `packages` that a fresh interpreter has loaded after `code`."""
    program = (
        f"{code}\nimport json, sys\nprint(json.dumps([p for p in {list(packages)} if p in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_sciexplain_loads_nothing_heavy():
    assert loaded("import sciexplain", HEAVY + FOR_ONE_USE) == []


def test_the_public_names_load_nothing_that_only_one_use_needs():
    assert loaded(TOUCH_ALL, FOR_ONE_USE) == []


@pytest.mark.parametrize("module", ["relevance", "data", "report"])
def test_parts_without_a_model_do_not_load_torch(module):
    assert loaded(f"import sciexplain.{module}", ("torch", "mne", "matplotlib")) == []


def test_the_count_can_fail():
    assert loaded("import matplotlib", FOR_ONE_USE) == ["matplotlib"]
