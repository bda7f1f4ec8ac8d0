# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Learn the Schroedinger equation, and read what was learned
#
# A network that has seen the energies of 5,701 small molecules predicts those of others to about 1
# kcal/mol, which is what chemists call accurate. It was told elements and distances, and no bond, no
# ring, no functional group. Did it find them? After Schuett et al. 2017 (doi:10.1038/ncomms13890).
#
# Every number below is of atomization energies in kcal/mol, negative where a molecule is bound; the more
# negative, the more stable. `SCIEXPLAIN_FORM=short` (default) takes few molecules and the kept networks;
# `long` takes all, and trains the networks anew.

# %%
import os
from pathlib import Path

import molecule_probes
import pandas as pd
import study
import torch

torch.set_num_threads(1)
SHORT = os.environ.get("SCIEXPLAIN_FORM", "short") != "long"
OUTPUT = Path.cwd().parents[1] / "reports" / "schroedinger"
OUTPUT.mkdir(parents=True, exist_ok=True)
pd.set_option("display.width", 200, "display.max_columns", 20, "display.float_format", "{:.4g}".format)


def show(name):
    """A part: notes, tables and pictures below the cell. None where its data cannot be obtained."""
    return study.STUDY.shown(name, SHORT, OUTPUT)


# %% [markdown]
# ## 1 How far off the networks are
#
# The error of the kept networks, worked out anew, beside what the mean and the composition alone would
# give.

# %%
accuracy = show("accuracy")
assert accuracy is None or accuracy.tables["errors"]["mean absolute error"].iloc[0] <= 1.5

# %%
_ = show("learning_curve")
_ = show("qm9")

# %% [markdown]
# ## 2 Explanations beside each other
#
# *LRP* says what the presence of an atom adds, *E_i* where the network books energy, *removal* what a
# molecule that nobody trained on would lose, *positions* what moving an atom would do. They are different
# questions. Within a molecule most agree, since most say what a carbon is beside a hydrogen. With the mean
# of each element taken off, LRP-0 and the methods of gradients still agree; E_i, removal and LRP-gamma are
# another family; sensitivities say something else altogether.

# %%
agreement = show("agreement")
if agreement is not None:
    assert agreement.notes["sum over atoms less the energy"] <= 1e-4
    assert agreement.notes["walks from an atom less pairs with it"] <= 1e-6

# %% [markdown]
# ## 3 Beside what is known
#
# logP by Crippen's table *is* a sum over atoms. A second network learned it from bonds, seeing sums only.
# Does relevance find the parts?

# %%
logp = show("logp")
if logp is not None:
    found = logp.tables["correlation with Crippen's contributions"]["mean"]
    assert found["LRP-0"] > 0.8 > found["sensitivity"]

# %%
_ = show("motif")

# %% [markdown]
# ## 4 What was learned: chains
#
# One more CH2 should cost the same everywhere in a chain. Positions are by RDKit's force field, not by
# PBE0; the tables say how much that matters.

# %%
_ = show("alkanes")

# %% [markdown]
# ## 5 Rings
#
# Nobody said "aromatic" or "strained". Energy of the carbons of each ring with their hydrogens, less what
# carbon and hydrogen have on average.

# %%
rings = show("rings")
if rings is not None:
    order = rings.tables["per carbon of the ring"]["E_i, less"]
    assert order.index[0] == "aromatic 6-ring"
    assert order["3-ring, saturated"] > order["5-ring, saturated"]

# %% [markdown]
# ## 6 Functional groups
#
# Beside the network's numbers a fit to PBE0's energies in which no network is: where they part, the
# network books the energy elsewhere, or the fit cannot tell groups apart that come together.

# %%
_ = show("groups")
_ = show("walks")

# %% [markdown]
# ## 7 Probes
#
# The energy that another atom would have at each place of a surface around a molecule, if it took no part
# in it.

# %%
_ = show("probes")
_ = molecule_probes.page(OUTPUT / "toluene.html")
