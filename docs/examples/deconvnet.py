"""The deconvolutional network beside the plain gradient: what is the class, the weights, the picture?"""

from __future__ import annotations

from modified_gradients import asked

import sciexplain as sx

asked({
    "gradient": sx.Gradient(),
    "deconvnet": sx.Deconvnet(),
    "guided backpropagation": sx.GuidedBackprop(),
})  # fmt: skip
