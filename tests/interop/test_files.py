"""Folders: what is read, what is refused, and that nothing in them is run."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from throughtime import interop
from throughtime.errors import InputError
from throughtime.interop import load, load_gpt2, save, save_gpt2
from throughtime.interop.files import read_source
from throughtime.models import ModelConfig, VisionTransformer, build, make
from throughtime.models.bert import Bert


@pytest.fixture
def folder(tmp_path):
    """A small GPT-2, written by us."""
    torch.manual_seed(0)
    model = build(ModelConfig("transformer", tokens=9, width=16, position="learned", tied=True))
    save_gpt2(model, tmp_path)
    return tmp_path


def weights_of(folder):
    return load_gpt2(folder).state_dict()


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


def halves(tensors):
    names = sorted(tensors)
    middle = len(names) // 2
    return [{name: tensors[name] for name in part} for part in (names[:middle], names[middle:])]


def write_index(folder, name, parts):
    listed = {key: file for file, part in parts.items() for key in part}
    (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": listed}))


def test_weights_may_be_pickled_and_in_parts(folder):
    expected = weights_of(folder)
    tensors = load_file(folder / "model.safetensors")
    parts = dict(zip(["a.safetensors", "b.safetensors"], halves(tensors), strict=True))
    for file, part in parts.items():
        save_file(part, folder / file)
    write_index(folder, "model.safetensors", parts)
    (folder / "model.safetensors").unlink()
    assert_same_weights(weights_of(folder), expected)
    (folder / "model.safetensors.index.json").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert_same_weights(weights_of(folder), expected)
    (folder / "pytorch_model.bin").unlink()
    parts = dict(zip(["a.bin", "b.bin"], halves(tensors), strict=True))
    for file, part in parts.items():
        torch.save(part, folder / file)
    write_index(folder, "pytorch_model.bin", parts)
    assert_same_weights(weights_of(folder), expected)


class Harmful:
    def __reduce__(self):
        return (open, ("harm", "w"))


def test_nothing_in_a_file_is_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"wte.weight": Harmful()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="does not hold tensors alone") as caught:
        load_gpt2(folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "harm").exists()


def test_files_that_are_none(folder, tmp_path):
    with pytest.raises(InputError, match=r"nowhere is no folder, expected one with config\.json"):
        load_gpt2(tmp_path / "nowhere")
    (folder / "model.safetensors").write_bytes(b"not this")
    with pytest.raises(InputError, match="does not hold tensors alone"):
        load_gpt2(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no weights, expected model\.safetensors or"):
        load_gpt2(folder)
    torch.save([1, 2], folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="holds a list, expected a state dict"):
        load_gpt2(folder)
    (folder / "pytorch_model.bin").unlink()
    write_index(folder, "pytorch_model.bin", {"../other.bin": ["wte.weight"]})
    with pytest.raises(InputError, match=r"lists '\.\./other\.bin', expected a file of the same"):
        load_gpt2(folder)
    write_index(folder, "pytorch_model.bin", {"missing.bin": ["wte.weight"]})
    with pytest.raises(InputError, match=r"missing\.bin cannot be read"):
        load_gpt2(folder)
    (folder / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(InputError, match="has no weight_map"):
        load_gpt2(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "not JSON"), ("[1]", "holds a list, expected an object"), (None, "cannot be read")],
)
def test_configs_that_are_none(folder, text, message):
    config = folder / "config.json"
    config.unlink() if text is None else config.write_text(text)
    for loader in (load, load_gpt2):
        with pytest.raises(InputError, match=message) as caught:
            loader(folder)
        assert "\n" not in str(caught.value)


def test_a_state_dict_needs_its_options():
    with pytest.raises(InputError, match="config is None, expected the options"):
        read_source({}, None)
    with pytest.raises(InputError, match="config is None"):
        load_gpt2({"wte.weight": torch.zeros(2, 2)})


def plain(function):
    """Without the checks of annotations, which nobody has outside of these tests."""
    return getattr(function, "__wrapped__", function)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda folder: plain(read_source)(torch.nn.ReLU(), None), "source is a ReLU, expected a"),
        (lambda folder: plain(read_source)(folder, torch.nn.ReLU()), "config is a ReLU, expected"),
        (lambda folder: plain(load)(None), "load: folder is a NoneType, expected the path of one"),
        (lambda folder: load_gpt2(folder, without="h."), "without is 'h.', expected a list of"),
        (lambda folder: save(load(folder), folder / "config.json"), "config.json is a file,"),
        (lambda folder: save(load(folder), folder, {"a": {1}}), "config cannot be written: Object"),
    ],
)
def test_what_is_no_folder_nor_options(folder, call, message):
    with pytest.raises(InputError) as caught:
        call(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_kind_of_model_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": ["gpt2"]}))
    with pytest.raises(InputError, match="model_type is \\['gpt2'\\], expected one of"):
        load(folder)
    (folder / "config.json").write_text(json.dumps(config | {"activation_function": {}}))
    with pytest.raises(InputError, match=r"activation_function is \{\}, expected one of"):
        load(folder)
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    with pytest.raises(InputError, match="model_type is 'llama', expected one of"):
        load(folder)
    with pytest.raises(InputError, match="option model_type is 'llama', expected gpt2"):
        load_gpt2(folder)


MARIAN = ModelConfig(
    "transformer", tokens=9, source_tokens=9, width=16, position="sinusoidal", norm_first=False
)


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (build(ModelConfig("transformer", tokens=9, width=16, position="learned")), None),
        (Bert(9, 16, 2, 1, masked=True), None),
        (VisionTransformer((8, 8), 4, 16, 2, 1, 3), None),
        (make(MARIAN), {"pad_token_id": 8}),
    ],
    ids=["gpt2", "bert", "vit", "marian"],
)
def test_what_is_saved_is_loaded(model, config, tmp_path):
    save(model, tmp_path, config)
    kind = json.loads((tmp_path / "config.json").read_text())["model_type"]
    again = load(tmp_path)
    assert type(again) is type(model)
    one, two = tmp_path / "one", tmp_path / "two"
    save(again, one, config)
    save(getattr(interop, f"load_{kind}")(one), two, config)
    assert_same_weights(load_file(two / "model.safetensors"), load_file(one / "model.safetensors"))


def test_the_package_asks_for_little():
    code = """if True:
        import sys, throughtime, throughtime.interop
        for heavy in ("transformers", "onnx", "onnxruntime", "keras"):
            assert heavy not in sys.modules, heavy
        """
    subprocess.run([sys.executable, "-c", code], check=True)
