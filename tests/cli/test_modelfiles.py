"""Loading models: what fits, what is refused, and that no file runs its own code."""

import json
import os
import pickle
import re
import sys
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sciexplain.modelfiles import ModelFileError, load_model
from sciexplain.modelfiles.archive import _harmless

from .conftest import Net

NET = "tests.cli.conftest:Net"


class Bomb:
    """Leaves a folder behind when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def rewritten(source, target, change):
    """Copy an archive; `change(name, content)` gives the new content of each member."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def no_explosion(folder):
    return not (folder / "exploded").exists()


def test_the_bomb_works(folder):
    pickle.loads(pickle.dumps(Bomb()))
    assert not no_explosion(folder)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pkl", "model.ckpt"])
def test_pickled_models_are_refused_with_reason_and_remedy(folder, name):
    torch.save(Bomb(), name)
    with pytest.raises(ModelFileError, match=r"any code.*torch\.export\.save.*--state"):
        load_model(name)
    with pytest.raises(ModelFileError, match=r"any code.*weights alone"):
        load_model(NET, state=name)
    assert no_explosion(folder)


def test_a_whole_module_as_weights_is_refused(folder, net):
    torch.save(net, "whole.pt")
    with pytest.raises(ModelFileError, match="holds more than weights"):
        load_model(NET, state="whole.pt")


def test_an_archive_with_a_pickle_in_it_is_refused(folder):
    bomb = folder / "bomb"
    torch.save(Bomb(), bomb)

    def sample_inputs(name, content):
        return bomb.read_bytes() if "sample_inputs" in name else content

    def weights(name, content):
        if name.endswith("weights_config.json"):
            config = json.loads(content)
            next(iter(config["config"].values()))["use_pickle"] = True
            return json.dumps(config)
        return bomb.read_bytes() if name.endswith("weight_0") else content

    def constant(name, content):
        if name.endswith("constants_config.json"):
            entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
            return json.dumps({"config": {"c": entry}})
        return content

    for change in (sample_inputs, weights, constant):
        rewritten("net.pt2", "bad.pt2", change)
        with pytest.raises(ModelFileError, match="any code"):
            load_model("bad.pt2")
        assert no_explosion(folder)


def test_a_size_that_is_code_is_refused(folder):
    code = "open('exploded', 'w')"

    def size(name, content):
        return (
            re.sub(rb"Symbol\('s\d+'[^)]*\)", code.encode(), content)
            if name.endswith("model.json")
            else content
        )

    rewritten("net.pt2", "bad.pt2", size)
    with pytest.raises(ModelFileError, match="no arithmetic"):
        load_model("bad.pt2")
    assert no_explosion(folder)


def test_a_function_that_is_no_tensor_operation_is_refused(folder):
    def target(name, content):
        return (
            content.replace(b"torch.ops.aten.relu.default", b"torch.hub.load")
            if name.endswith(".json")
            else content
        )

    rewritten("net.pt2", "bad.pt2", target)
    with pytest.raises(ModelFileError):
        load_model("bad.pt2")


def test_parts_that_are_there_twice_are_refused(folder):
    rewritten("net.pt2", "bad.pt2", lambda _, content: content)
    with zipfile.ZipFile("bad.pt2", "a") as archive:
        archive.writestr(archive.namelist()[0].upper(), b"")
    with pytest.raises(ModelFileError, match="twice"):
        load_model("bad.pt2")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Symbol('s31', positive=True, integer=True)", True),
        ("Mul(Integer(2), Symbol('s0', integer=True))", True),
        ("FloorDiv(s0 + 3, 2)", True),
        ("Add('open(1)')", False),
        ("Symbol('open(1)')", False),
        ("Symbol(Add('x'))", False),
        ("().__class__", False),
        ("open(1)", False),
        ("[x for x in 1]", False),
        ("(lambda: 0)()", False),
        ("s0 +", False),
    ],
)
def test_sizes_that_are_arithmetic(text, want):
    assert _harmless(text) is want


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_files_that_are_no_programs(folder, content):
    path = folder / "odd.pt2"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("odd/readme", "hello")
    else:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"odd.pt2' is no exported program"):
        load_model(path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.pt2", "no model file"),
        ("nowhere.safetensors", "no model file"),
        ("x.npy", "is no model: a model is"),
        ("nonsense", "is no model: a model is"),
        ("no-name:build", "is no model"),
        ("not_a_module_of_ours:build", "no module 'not_a_module_of_ours'"),
        ("tests.cli.conftest:build_net", "no 'build_net' there; it has.*make_net"),
        ("tests.cli.conftest:SHAPE", "is a tuple"),
        ("builtins:dict", "returned dict"),
        ("tests.cli.conftest:export", "cannot be called.*--factory-args"),
        ("net.safetensors", "no 'sciexplain' metadata"),
    ],
)
def test_what_is_no_model(folder, source, words):
    with pytest.raises((ModelFileError, FileNotFoundError, ValueError), match=words):
        load_model(source)


def test_a_module_that_needs_a_missing_package_says_so(folder, monkeypatch):
    (folder / "needs_more_of_this_test.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ModelFileError, match="needs the package 'not_installed_anywhere'"):
        load_model("needs_more_of_this_test:build")
    assert "needs_more_of_this_test" not in sys.modules


def test_state_and_arguments_belong_to_factories(folder):
    with pytest.raises(ModelFileError, match=r"--state goes with"):
        load_model("net.pt2", state="net.safetensors")
    with pytest.raises(ModelFileError, match="--factory-args goes with"):
        load_model("net.pt2", factory_args={})
    with pytest.raises(FileNotFoundError, match=r"no file 'gone.pt'"):
        load_model(NET, state="gone.pt")


def test_weights_that_do_not_fit_are_all_named(folder, net):
    state = dict(net.state_dict())
    state["tail.weight"] = state.pop("head.weight")
    state["head.bias"] = torch.zeros(3)
    save_file(state, "other.safetensors")
    with pytest.raises(
        ModelFileError, match=r"missing head\.weight; unexpected tail\.weight; head\.bias has shape \(3,\)"
    ):
        load_model(NET, state="other.safetensors")


@pytest.mark.parametrize(("value", "words"), [([1, 2], "holds a list"), ({"a": 1}, "holds a dict")])
def test_a_state_without_tensors(folder, value, words):
    torch.save(value, "odd.pt")
    with pytest.raises(ModelFileError, match=words):
        load_model(NET, state="odd.pt")


def test_models_come_in_eval_mode_with_their_weights(folder, net):
    loaded = load_model(NET, state="net.safetensors")
    assert isinstance(loaded, Net)
    assert not any(module.training for module in loaded.modules())
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), net.state_dict().values()))
    assert isinstance(load_model("net.pt2"), torch.export.ExportedProgram)
    assert isinstance(load_model(NET, factory_args={"n_outputs": 3}).head, nn.Linear)
    assert load_model(NET, factory_args={"n_outputs": 3}).head.out_features == 3
