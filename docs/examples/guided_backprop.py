"""Guided backpropagation beside the plain gradient: what of it is the class, the weights, the picture?"""

from __future__ import annotations

from modified_gradients import asked

import sciexplain as sx

asked({
    "gradient": sx.Gradient(),
    "guided backpropagation": sx.GuidedBackprop(),
    "LRP epsilon_plus": sx.LRP("epsilon_plus"),
})  # fmt: skip
