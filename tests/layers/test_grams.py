"""Vectors of n-grams beyond the laws: which n-grams there are, and where they lie."""

import pytest
import torch

from throughtime.errors import InputError
from throughtime.layers import GRU, Embedding, GramEmbedding
from throughtime.models import Classifier, ModelConfig
from throughtime.models.building import make
from throughtime.models.inputs import TokenInputs
from throughtime.state import load_tree, save_tree


def layer_of(order=3, buckets=1000, size=4):
    layer = GramEmbedding(9, size, order=order, buckets=buckets)
    torch.nn.init.normal_(layer.grams)
    return layer


def test_the_sum_of_the_formula():
    layer = layer_of()
    x = torch.tensor([[5, 2, 7, 2]])
    y, _ = layer(x)
    padded = [0, 0, *(x[0] + 1).tolist()]
    for t in range(4):
        window = torch.tensor(padded[t : t + 3])
        buckets = layer.bucket(window[None, None])[0, 0]
        expected = layer.weight[x[0, t]] + layer.grams[buckets].sum(0)
        torch.testing.assert_close(y[0, t], expected)


def test_what_was_never_learnt_adds_nothing():
    layer = GramEmbedding(9, 4)
    x = torch.randint(9, (2, 6))
    plain = Embedding(9, 4)
    plain.weight = layer.weight
    assert torch.equal(layer(x)[0], plain(x)[0])


def test_buckets_depend_on_every_token_and_on_their_order():
    layer = layer_of(order=4, buckets=65_536)
    base = torch.tensor([3, 1, 4, 2])
    found = layer.bucket(base[None, None])[0, 0]
    assert found.shape == (3,)
    swapped = layer.bucket(torch.tensor([3, 4, 1, 2])[None, None])[0, 0]
    assert bool((found != swapped).all())
    older = layer.bucket(torch.tensor([5, 1, 4, 2])[None, None])[0, 0]
    assert (found == older).tolist() == [True, True, False]


def test_buckets_are_filled_evenly():
    layer = layer_of(order=2, buckets=64)
    first, second = torch.meshgrid(torch.arange(1, 200), torch.arange(1, 200), indexing="ij")
    windows = torch.stack([first.flatten(), second.flatten()], -1)[None]
    counts = layer.bucket(windows).flatten().bincount(minlength=64).double()
    mean = counts.mean()
    assert counts.min() > 0.8 * mean
    assert counts.max() < 1.2 * mean


def test_buckets_are_the_same_everywhere():
    """They are part of what a saved model means."""
    layer = layer_of(order=4, buckets=65_536)
    found = layer.bucket(torch.tensor([[[1, 2, 3, 4], [0, 0, 0, 9]]]))
    assert found.tolist() == [[[55484, 26106, 23709], [55599, 62819, 31971]]]


def test_gradients_reach_the_n_grams_that_occur_alone():
    layer = layer_of()
    x = torch.tensor([[1, 2]])
    layer(x)[0].sum().backward()
    assert layer.grams.grad is not None
    touched = layer.grams.grad.abs().sum(1).nonzero().flatten().tolist()
    windows = torch.tensor([[[0, 0, 2], [0, 2, 3]]])
    assert touched == sorted(set(layer.bucket(windows).flatten().tolist()))


def test_dropout_leaves_out_whole_n_grams_in_training_alone():
    layer = GramEmbedding(9, 4, order=3, dropout=0.25)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.ones_(layer.grams)
    x = torch.randint(9, (50, 40))
    assert bool((layer.eval()(x)[0] == 2).all())
    y = layer.train()(x)[0]
    assert bool((y == y[..., :1]).all())
    shares = torch.stack([((y[..., 0] - n / 0.75).abs() < 1e-5).double().mean() for n in (0, 1, 2)])
    expected = torch.tensor([0.25**2, 2 * 0.25 * 0.75, 0.75**2]).double()
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.04)


def test_a_state_in_a_file(tmp_path):
    model = Classifier(TokenInputs(9, 4, grams=3, buckets=50), GRU(4, 5), classes=2).eval()
    torch.nn.init.normal_(model.inputs.embedding.grams)
    torch.nn.init.normal_(model.weight)
    x = torch.randint(9, (2, 7))
    whole, _ = model(x)
    _, state = model(x[:, :4])
    save_tree(state, tmp_path / "state")
    rest, _ = model(x[:, 4:], load_tree(tmp_path / "state"))
    torch.testing.assert_close(rest, whole[:, 4:])


def test_a_configuration_says_so():
    fields = {"kind": "gru", "tokens": 9, "classes": 2, "width": 4}
    model = make(ModelConfig(**fields, grams=3, buckets=50))
    assert isinstance(model, Classifier)
    assert model.inputs.embedding.grams.shape == (50, 4)
    with pytest.raises(InputError, match="grams is 1, expected at least 2, for texts"):
        ModelConfig(**fields, grams=1)
    with pytest.raises(InputError, match="grams is 3, expected at least 2, for texts"):
        ModelConfig(kind="gru", classes=2, grams=3)
    with pytest.raises(InputError, match="grams is for a classifier"):
        ModelConfig(kind="gru", tokens=9, grams=3)
    with pytest.raises(InputError, match="buckets is 0"):
        ModelConfig(**fields, buckets=0)


@pytest.mark.parametrize(
    ("make_layer", "said"),
    [
        (lambda: GramEmbedding(9, 4, order=1), "order is 1, expected at least 2 tokens"),
        (lambda: GramEmbedding(9, 4, buckets=0), "buckets"),
        (lambda: GramEmbedding(9, 4, dropout=1.0), "dropout is 1.0, expected a probability"),
        (lambda: layer_of()(torch.rand(2, 3)), "x is torch.float32 of shape"),
        (lambda: layer_of()(torch.zeros(2, 3, 1).long()), r"of shape \[2, 3, 1\]"),
    ],
)
def test_refused(make_layer, said):
    with pytest.raises(InputError, match=said):
        make_layer()
