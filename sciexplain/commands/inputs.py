"""From the file that a user names as INPUT to an array, a labelled array or epochs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CommandError

if TYPE_CHECKING:
    import mne
    import xarray as xr

_EPOCHS = re.compile(r"[-_]epo\.fif(\.gz)?$")
KNOWN = ".nc, .zarr, .npy, .npz, -epo.fif"


def is_epochs(path: Path) -> bool:
    """Whether the name is one of MNE's for epochs.

    >>> is_epochs(Path("s1-epo.fif")), is_epochs(Path("s1_raw.fif"))
    (True, False)
    """
    return _EPOCHS.search(path.name) is not None


def read_array(path: Path, variable: str | None = None) -> Any:
    """The array in a netCDF, zarr, .npy or .npz file, as a DataArray where it has labels.

    Parameters
    ----------
    path : Path
    variable : str, optional
        Which one, where the file holds several.

    Raises
    ------
    CommandError
        Another kind of file, an unreadable one, or a variable that is not there.
    FileNotFoundError
    """
    if not path.exists():
        raise FileNotFoundError(f"no input file {str(path)!r}")
    if path.suffix in (".nc", ".zarr"):
        return _labelled(path, variable)
    if path.suffix in (".npy", ".npz"):
        return _plain(path, variable)
    if path.name.endswith((".fif", ".fif.gz")):
        raise CommandError(
            f"{str(path)!r} is named as no epochs file: MNE's end in -epo.fif or _epo.fif."
            " Cut a recording into epochs and save them: mne.Epochs(...).save('name-epo.fif')."
        )
    raise CommandError(f"{str(path)!r} is no input file; known are {KNOWN}.")


def read_epochs(path: Path) -> mne.BaseEpochs:
    """MNE epochs, loaded."""
    import mne

    if not path.exists():
        raise FileNotFoundError(f"no input file {str(path)!r}")
    return mne.read_epochs(path, preload=True, verbose="error")


def _labelled(path: Path, variable: str | None) -> xr.DataArray:
    import xarray as xr

    from sciexplain.relevance import load

    try:
        if path.suffix == ".nc" and path.is_file() and _is_classic(path):
            with xr.open_dataset(path, engine="scipy") as opened:
                found: xr.Dataset | xr.DataArray = opened.load()
        else:
            found = load(path)
    except ImportError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CommandError(f"{str(path)!r} cannot be read as {_kind(path)}: {error}") from error
    if isinstance(found, xr.DataArray):
        if variable not in (None, found.name):
            raise CommandError(f"{str(path)!r} holds one array, {found.name!r}, and no {variable!r}.")
        return found
    return found[_chosen(path, [str(name) for name in found.data_vars], variable)]


def _is_classic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"CDF"


def _kind(path: Path) -> str:
    return "zarr" if path.suffix == ".zarr" else "netCDF"


def _plain(path: Path, variable: str | None) -> Any:
    import numpy as np

    try:
        found: Any = np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with found:
                return found[_chosen(path, list(found.files), variable)]
    except CommandError:
        raise
    except (ValueError, OSError, EOFError) as error:
        reason = "objects need pickle, which may run any code" if "pickle" in str(error) else str(error)
        raise CommandError(f"{str(path)!r} cannot be read as an array of numbers: {reason}.") from error
    if variable is not None:
        raise CommandError(
            f"{str(path)!r} holds one array without a name; --variable {variable} is not in it."
        )
    return found


def _chosen(path: Path, names: list[str], variable: str | None) -> str:
    if variable is None and len(names) == 1:
        return names[0]
    if variable in names:
        return str(variable)
    has = f"{str(path)!r} holds {', '.join(sorted(names)) or 'no variables'}"
    raise CommandError(
        f"{has}; choose one with --variable." if variable is None else f"{has}, no {variable!r}."
    )
