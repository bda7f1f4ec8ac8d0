# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Decisions on images: many explanations of the same prediction
#
# A network says "strawberry". Which pixels made it say so? There are a dozen methods that answer, and their
# pictures differ. This study runs them all on three networks and asks, with numbers, which answers are good:
# do they add up, do they change no faster than the picture does (continuity), does the score fall when what
# they call relevant is taken away (selectivity), and, where the evidence lies in a known rectangle, do they
# point into it.
#
# `SCIEXPLAIN_FORM=short` (default) takes few pictures and steps, and the kept network for thumbnails; `long`
# more of both, and trains it anew.

# %%
import os
from pathlib import Path

import pandas as pd
import study
import torch

torch.set_num_threads(1)
SHORT = os.environ.get("SCIEXPLAIN_FORM", "short") != "long"
OUTPUT = Path.cwd().parents[1] / "reports" / "decisions_on_images"
OUTPUT.mkdir(parents=True, exist_ok=True)
pd.set_option("display.width", 200, "display.max_columns", 20, "display.float_format", "{:.3g}".format)


def show(name):
    """A part: notes, tables and pictures below the cell. None where its pictures cannot be obtained."""
    return study.STUDY.shown(name, SHORT, OUTPUT)


# %% [markdown]
# ## 1 Digits
#
# A small network on 4,000 digits of MNIST, held out: 1,000. Black is 0, so gradient x input and simple Taylor
# say nothing about paper that was left empty. The lecture compares four methods: sensitivity, simple Taylor,
# LRP alpha2-beta1 and deep Taylor.
#
# *Does it add up?* `sum of relevance` plus what a method reports as absorbed by a name (biases, the root's
# score, the remainder) should be the `score`; `unaccounted` is the rest, as a share of the score or of all
# |relevance|, whichever is larger.
#
# *Continuity*: the digit slides over 9 columns; of each, the largest |R(x) - R(x')|_1 / |x - x'|_2 from one
# place to the next. Raw numbers grow with the size of relevance; normalised ones compare methods.
#
# *Selectivity*: 4 x 4 patches are set to 0, the most relevant first, then the least relevant first. AOPC is
# the mean fall of the score; `relevance gain` the difference of the two (Bluecher et al. 2024). "chance" is
# relevance drawn at random.

# %%
digits = show("digits")
assert digits.notes["test_accuracy"] > 0.95
adds = digits.tables["does it add up"]["unaccounted"]
assert (adds.filter(like="LRP") < 1e-5).all(), "LRP has to add up"
gain = digits.tables["selectivity"]["relevance gain"]
assert gain["LRP epsilon"] > gain["chance"], "no better than chance"

# %% [markdown]
# ## 2 Thumbnails
#
# CIFAR-10, ten classes of 32 x 32 pixels, and a network of four convolutions, trained in minutes.
# Patches that are taken away are blurred, since a grey patch is a thing of its own.

# %%
if not SHORT:
    show("training")
thumbnails = show("thumbnails")
assert thumbnails is None or thumbnails.notes["accuracy"] > 0.72  # on 1,000 pictures; 0.75 on all of them

# %% [markdown]
# ## 3 Photos
#
# EfficientNet-Lite0 with its published weights on twenty photos of ImageNet classes.

# %%
photos = show("photos")
assert photos.notes["right"] >= 17

# %% [markdown]
# ## 4 Mosaics: the evidence lies in a known place
#
# Four photos of four classes in one picture. Where the network predicts the class of one of them, the
# evidence for it should lie in that photo, a quarter of the picture (Arras et al. 2022). `mass`: share of the
# positive relevance in it. `rank`: share of as many most relevant pixels in it. `pointing`: is the most
# relevant pixel in it. `mu`: mean positive relevance outside over inside. A flat map has 0.25, 0.25, 0.25, 1.

# %%
mosaics = show("photo_mosaics")
assert mosaics.tables["localisation"].loc["LRP epsilon-plus", "mass"] > 0.25

# %% [markdown]
# ## 5 Two networks, and what they do with context
#
# Each picture is a thumbnail at half its size in the middle of another thumbnail; the class is that of the
# middle. For one network the surround had the same class in one of ten training pictures, as often as by
# chance: it tells nothing. For the other, in nine of ten. Both are then asked about the same pictures, whose
# surround is of *another* class. Who looks at the surround? `mu` above 1 means more positive relevance per
# pixel outside the middle than inside.

# %%
context = show("context")

# %% [markdown]
# ## 6 Prototypes
#
# The other half of the lecture: not why this picture, but what the class stands for. Pictures of the data
# that score highest, beside pictures made to score high.

# %%
prototypes = show("prototypes")
