"""Rows become layers: by module, merged operations under their step, moves in a row as one."""

import pytest

from sciexplain.plans.layers import layers, summary
from tests.plans.rows import ATTRS, ROWS, row


def shape(rows):
    """Layer path -> its lines as (module, operation, merged lines)."""
    return [
        (
            layer.path,
            [
                (s.module, s.operation, [(m.module, m.operation, m.done) for m in s.merged])
                for s in layer.steps
            ],
        )
        for layer in layers(rows)
    ]


def test_a_plan_in_layers():
    assert shape(ROWS) == [
        (
            "blocks.0",
            [
                (
                    "conv",
                    "conv1d",
                    [("before", "batch_norm", "merged, comes before"), ("after", "batch_norm", "merged")],
                ),
                (".", "mul", []),
            ],
        ),
        ("", [(".", "transpose, reshape", []), ("head", "linear", [])]),
    ]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["features.0", "features.1", "classifier"], ["features", "features", ""]),
        (["layer1.0.conv1", "layer1.0", "layer1.1.conv1"], ["layer1.0", "layer1.0", "layer1.1"]),
        (["a.layer.0.attention.self.query", "a.layer.0.attention.self"], ["a.layer.0", "a.layer.0"]),
        (["0", "2"], ["", ""]),
        (["down.conv", "", "up.conv"], ["down", "", "up"]),
        (["0.0", "0.1", "1.0"], ["0", "0", "1"]),
    ],
)
def test_layers_are_numbered_modules_or_the_module_around(paths, expected):
    found = layers([row(i, f"op{i}", path) for i, path in enumerate(paths)])
    assert [layer.path for layer in found for _ in layer.steps] == expected
    assert [f"{layer.path}.{s.module}".strip(".") for layer in found for s in layer.steps] == paths


def test_a_large_numbered_module_is_told_by_those_within():
    paths = [f"0.layers.{i % 2}.a" for i in range(31)]
    inside = [f"0.layers.{i % 2}" for i in range(31)]
    for n, expected in ((30, ["0"]), (31, inside)):
        assert [layer.path for layer in layers([row(i, "f", p) for i, p in enumerate(paths[:n])])] == expected


def test_many_moves_are_counted():
    (layer,) = layers([row(i, f"move{i}", kind="move") for i in range(4)])
    assert layer.steps[0].operation == "move0, move1, move2, move3"
    (layer,) = layers([row(i, f"move{i}", kind="move") for i in range(6)])
    assert layer.steps[0].operation == "move0, move1, move2, move3 and 2 more"


@pytest.mark.parametrize(
    "second",
    [
        {"path": "b"},
        {"rule": "dropout passes on"},
        {"kind": "affine"},
        {"constant": "mask: eq"},
        {"absorbs": "constants"},
    ],
)
def test_only_moves_that_are_alike_share_a_line(second):
    alike = {"path": "a", "kind": "move", "rule": "values move"}
    assert len(layers([row(0, "view", **alike), row(1, "permute", **alike)])[0].steps) == 1
    apart = layers([row(0, "view", **alike), row(1, "permute", **{**alike, **second})])
    assert [s.operation for layer in apart for s in layer.steps] == ["view", "permute"]


def test_a_merged_operation_whose_step_is_not_chosen_says_where_it_went():
    (layer,) = layers([ROWS[0]])
    assert [(s.operation, s.done) for s in layer.steps] == [("batch_norm", "merged into blocks.0.conv")]


@pytest.mark.parametrize(
    ("path", "shown"), [("norm", "(model).norm"), ("", "(model)"), ("blocksy.a", "(model).blocksy.a")]
)
def test_what_is_merged_from_elsewhere_keeps_its_whole_path(path, shown):
    (layer,) = layers([row(0, "batch_norm", path, step=1), row(1, "linear", "blocks.0")])
    assert [m.module for m in layer.steps[0].merged] == [shown]


def test_the_summary():
    assert summary(ROWS, ATTRS) == [
        "7 operations, 2 merged into others, each has a rule; B is the batch.",
        "Composite mine: conv ZPlus().",
        "The final softmax is left out: what goes into it is explained.",
        "Treated as constant: gate (1).",
        "2 operations more lead only to what is constant.",
        "May absorb relevance: bias (2), epsilon (1).",
    ]


def test_the_summary_of_little():
    assert summary([row(0, "view", kind="move")], {}) == [
        "1 operation, each has a rule; B is the batch.",
        "Nothing absorbs relevance.",
    ]
    assert "1 operation more leads only to what is constant." in summary([], {"constant_only": 1})


def test_free_sizes_are_named():
    assert summary([], {"sizes": ["N1", "N2"]})[0].endswith("B is the batch, sizes N1, N2 are free too.")


def test_the_same_thing_twice_at_one_operation_counts_once():
    cell = "gate: sigmoid (a); gate: sigmoid (b); mask: eq"
    lines = summary([row(0, "mul", constant=cell), row(1, "mul", constant="gate: tanh")], {})
    assert "Treated as constant: gate (2), mask (1)." in lines
