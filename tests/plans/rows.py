"""Rows of plans written by hand."""


def row(index, operation, path="", kind="affine", rule="in proportion", **more):
    """One row; `step` defaults to the row itself."""
    return {
        "index": index,
        "operation": operation,
        "path": path,
        "kind": kind,
        "line": "",
        "input_shape": "(B, 3)",
        "output_shape": "(B, 3)",
        "input_sign": "signed",
        "rule": rule,
        "why": "",
        "constant": "",
        "absorbs": "",
        "merged": "",
        "step": index,
        **more,
    }


#: A block with a batch norm before and one after a convolution, moves, a gate, and a head.
ROWS = [
    row(
        0,
        "aten.batch_norm",
        "blocks.0.before",
        "norm",
        "merged or affine",
        step=1,
        merged="into blocks.0.conv",
    ),
    row(1, "aten.conv1d", "blocks.0.conv", "conv", "ZPlus()", why="kind conv", absorbs="bias; epsilon"),
    row(
        2,
        "aten.batch_norm",
        "blocks.0.after",
        "norm",
        "merged or affine",
        step=1,
        merged="into blocks.0.conv",
    ),
    row(3, "aten.mul", "blocks.0", "gate", "SignalTakesAll()", constant="gate: sigmoid (blocks.0.gate)"),
    row(4, "aten.transpose", "", "move", "values move"),
    row(5, "aten.reshape", "", "move", "values move", output_shape="(B, 9)"),
    row(6, "aten.linear", "head", "linear", "Zero()", why="no entry matches", absorbs="bias"),
]
ATTRS = {
    "composite": "mine",
    "rules": {"conv": "ZPlus()"},
    "left_out": "softmax",
    "constant_only": 2,
}
