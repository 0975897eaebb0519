"""The chain rule, drawing from it, and the contract of the whole model."""

import itertools
import math
from typing import Any

import pytest
import torch

from throughtime import GRU, LSTM, RNN, Bidirectional, Dropout, Stack, state
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.heads import Categorical, NegativeBinomial, Normal, Quantiles, StudentT
from throughtime.models.inputs import NumberInputs, TokenInputs
from throughtime.testing import LAWS, check_layer

TOKENS = 3


def rough(model):
    """Weights far from where they start, so that every part matters."""
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return model.double().eval()


def of_tokens(*, tied=False, dropout=0.0):
    body = Stack(LSTM(4, 4), Dropout(dropout)) if dropout else LSTM(4, 4)
    inputs, head = TokenInputs(TOKENS, 4, tied=tied), Categorical(4, TOKENS, tied=tied)
    return rough(Autoregressive(inputs, body, head))


def of_numbers(head: Any = Normal, *, size=1, covariates=0, scaling="fixed", level=0.0, **options):
    inputs = NumberInputs(size, covariates=covariates, scaling=scaling, level=level)
    return rough(Autoregressive(inputs, GRU(inputs.output_size, 4), head(4, size, **options)))


def series(batch, time, size=1, missing=0.0):
    x = torch.randn(batch, time, size, dtype=torch.float64).cumsum(1)
    x[torch.rand(x.shape) < missing] = torch.nan
    return x


MODELS = {
    "tokens": of_tokens,
    "tied": lambda: of_tokens(tied=True),
    "normal": lambda: of_numbers(size=2, residual=True),
    "student": lambda: of_numbers(StudentT, size=2, scaling="mean", residual=True),
    "level": lambda: of_numbers(StudentT, size=2, level=1.5, residual=True),
    "counts": lambda: of_numbers(NegativeBinomial, size=2, scaling="mean"),
    "quantiles": lambda: of_numbers(Quantiles, size=2, scaling="standard"),
}
everyone = pytest.mark.parametrize("name", MODELS)


def values_for(model, batch=3, time=9):
    if model.inputs.discrete:
        return torch.randint(TOKENS, (batch, time))
    if model.head.kind == "negative_binomial":
        return torch.randint(20, (batch, time, 2)).double()
    return series(batch, time, 2, missing=0.2)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)


def same_state(a, b):
    for one, other in zip(state.tensors(a), state.tensors(b), strict=True):
        close(one, other)


# -- the chain rule --------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 4])
def test_all_sequences_together_have_probability_one(length):
    every = torch.tensor(list(itertools.product(range(TOKENS), repeat=length)))
    total = of_tokens().log_prob(every).sum(1).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-9)


def test_the_density_of_two_numbers_integrates_to_one():
    """Over the first for any second it gives the marginal, and over both one."""
    model = of_numbers(residual=True)
    line = torch.linspace(-40, 40, 401, dtype=torch.float64)
    pairs = torch.cartesian_prod(line, line).unsqueeze(-1)
    width = float(line[1] - line[0])
    both = model.log_prob(pairs).exp().prod(1).view(401, 401)
    assert (both.sum() * width**2).item() == pytest.approx(1, abs=1e-9)
    first = model.log_prob(line.view(-1, 1, 1)).exp().squeeze(1)
    close(both.sum(1) * width, first)


@everyone
def test_log_prob_is_the_product_of_the_steps(name):
    model = MODELS[name]()
    x = values_for(model)
    distribution, now = model.step(None, model.initial_state(3))
    for t in range(x.shape[1]):
        expected = distribution.log_prob(x[:, t].nan_to_num() if x.ndim == 3 else x[:, t])
        if x.ndim == 3:
            expected = torch.where(x[:, t].isnan(), 0, expected).sum(-1)
        close(model.log_prob(x)[:, t], expected)
        distribution, now = model.step(x[:, t], now)


@everyone
def test_log_prob_passes_over_padding(name):
    """Each row alone, without its padding, wherever that was and whatever stood in it."""
    model = MODELS[name]()
    x = values_for(model)
    mask = torch.tensor([[*map(int, row)] for row in ("111110000", "000111111", "010110101")]) > 0
    x[~mask] = 99 if x.ndim == 2 else torch.nan
    together = model.log_prob(x, mask)
    assert (together[~mask] == 0).all()
    for row in range(3):
        alone = model.log_prob(x[row : row + 1, mask[row]])
        close(together[row, mask[row]], alone[0])


def test_perplexity_and_bits():
    model, x = of_tokens(), torch.randint(TOKENS, (3, 9))
    mask = torch.rand(3, 9) < 0.7
    nats = -model.log_prob(x, mask).sum() / mask.sum()
    close(model.perplexity(x, mask), nats.exp())
    close(model.bits_per_step(x, mask), nats / math.log(2))
    numbers, y = of_numbers(size=2), series(2, 5, 2, missing=0.3)
    close(numbers.nats(y), -numbers.log_prob(y).sum() / (~y.isnan()).sum())


def test_covariates_are_those_of_the_step_to_be_predicted():
    model, x = of_numbers(covariates=1), series(1, 6)
    c = torch.randn(1, 6, 1, dtype=torch.float64)
    before = model.log_prob(x, covariates=c)
    c[0, 3] += 1
    changed = model.log_prob(x, covariates=c) != before
    assert changed[0].tolist() == [False, False, False, True, True, True]


def test_what_the_body_reads():
    """Value, change since the last observed one, observed or not, log scale, covariate."""
    inputs = NumberInputs(1, covariates=1, scaling="standard").double()
    x = torch.tensor([[[1.0], [5.0], [torch.nan], [3.0]]], dtype=torch.float64)
    c = torch.tensor([[[7.0], [torch.nan], [8.0], [9.0]]], dtype=torch.float64)
    inputs.covariate_location += 7.0
    features, scaling, _ = inputs(x, inputs.initial_state(1), covariates=c)
    last = torch.tensor([0.0, 1.0, 5.0, 5.0], dtype=torch.float64)
    there = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    value, location, scale = x.nan_to_num().flatten(), *(s.flatten() for s in scaling[:2])
    expected = [there * (value - location) / scale, there * (value - last) / scale, there]
    expected += [scale.log(), torch.tensor([0.0, 0.0, 1.0, 2.0], dtype=torch.float64)]
    close(features[0], torch.stack(expected, dim=-1))


def test_drawing_reads_the_covariates_of_each_step():
    """Drawing is feeding what was drawn, with the covariates of the step after it."""
    model, x = of_numbers(covariates=1), series(2, 5)
    c = 3 * torch.randn(2, 9, 1, dtype=torch.float64)
    drawn = model.sample(4, prefix=x, covariates=c, generator=torch.Generator().manual_seed(5))
    line, generator = x, torch.Generator().manual_seed(5)
    for t in range(5, 9):
        fed = torch.cat([model.begin(2), line], dim=1)
        parameters, _ = model(fed, covariates=c[:, : t + 1])
        line = torch.cat([line, model.head.sample(parameters[:, -1], generator)[:, None]], dim=1)
    close(drawn, line[:, 5:].detach())


def test_a_missing_value_is_not_a_zero():
    """What was not observed says nothing about itself, but the model knows that it is missing."""
    model, x = of_numbers(residual=True), series(1, 6)
    x[0, 2] = 0
    zero = model.log_prob(x)
    x[0, 2] = torch.nan
    missing = model.log_prob(x)
    assert missing[0, 2] == 0
    close(missing[0, :2], zero[0, :2])
    assert (missing[0, 3:] != zero[0, 3:]).all()


# -- drawing ---------------------------------------------------------------------------------------


def test_samples_come_as_often_as_they_are_likely():
    model, n = of_tokens(), 20_000
    drawn = model.sample(2, batch_size=n, generator=torch.Generator().manual_seed(7))
    every = torch.tensor(list(itertools.product(range(TOKENS), repeat=2)))
    p = model.log_prob(every).sum(1).exp()
    share = torch.bincount(drawn @ torch.tensor([TOKENS, 1]), minlength=TOKENS**2) / n
    assert ((share - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()


def test_paths_have_the_quantiles_of_the_next_step():
    model, x, n = of_numbers(StudentT, residual=True), series(2, 8), 8000
    last, now = model.read(x)
    paths = model.forecast(2, now, last, paths=n, generator=torch.Generator().manual_seed(7))
    assert paths.shape == (2, n, 2, 1)
    parameters, _ = model(last.unsqueeze(1), now)
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    limits = model.head.quantile(parameters[:, 0], levels.tolist())  # -> (B, D, L)
    share = (paths[:, :, 0].unsqueeze(-1) < limits.unsqueeze(1)).double().mean(1)
    assert ((share - levels).abs() < 4 * (levels * (1 - levels) / n).sqrt()).all()


@everyone
def test_prefixes_of_different_lengths_in_one_batch(name):
    """Reading them together leaves each row where reading it alone does."""
    model = MODELS[name]()
    x = values_for(model)
    mask = torch.tensor([[*map(int, row)] for row in ("111110000", "000111111", "000000000")]) > 0
    x[~mask] = 99 if x.ndim == 2 else torch.nan
    last, now = model.read(x, mask)
    for row in range(3):
        alone, after = model.read(x[row : row + 1, mask[row]])
        close(last[row : row + 1], alone)
        same_state(state.select(now, [row]), after)


def test_ragged_prompts_go_on_as_each_alone():
    model = of_tokens()
    x = torch.randint(TOKENS, (3, 7))
    mask = torch.tensor([[*map(int, row)] for row in ("1111100", "0001111", "1010001")]) > 0
    together = model.sample(6, prefix=x, mask=mask, temperature=1e-9)
    for row in range(3):
        alone = model.sample(6, prefix=x[row : row + 1, mask[row]], temperature=1e-9)
        assert torch.equal(together[row], alone[0])
    greedy = x[:1, :5]  # and as running the whole sequence again for every token
    for _ in range(6):
        parameters, _ = model(torch.cat([model.begin(1), greedy], dim=1))
        greedy = torch.cat([greedy, parameters[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(together[0], greedy[0, 5:])


def test_reading_goes_on_from_a_state():
    model = of_numbers(size=2, covariates=1)
    x, c = series(3, 8, 2, missing=0.2), torch.randn(3, 12, 1, dtype=torch.float64)
    last, whole = model.read(x, covariates=c[:, :8])
    _, half = model.read(x[:, :4], covariates=c[:, :4])
    for mask in (None, torch.ones(3, 5, dtype=torch.bool)):
        # x[:, 3] was read but not fed; the state stands before it.
        again, after = model.read(x[:, 3:], mask, half, c[:, 3:8])
        close(again, last)
        same_state(after, whole)
    generators = [torch.Generator().manual_seed(1) for _ in range(3)]
    expected = model.sample(4, prefix=x, covariates=c, generator=generators[0])
    went_on = model.sample(
        4, prefix=x[:, 3:], state=half, covariates=c[:, 3:], generator=generators[1]
    )
    close(went_on, expected)
    paths = model.forecast(4, whole, last, c[:, 8:], paths=1, generator=generators[2])
    close(paths[:, 0], expected)


def test_the_prefix_is_run_once():
    model, calls = of_tokens(), []
    model.body.register_forward_hook(lambda body, given, made: calls.append(given[0].shape[1]))
    model.sample(5, prefix=torch.randint(TOKENS, (2, 9)))
    assert calls == [9, 1, 1, 1, 1, 1]


def test_a_generator_repeats_itself():
    model = of_tokens()
    draws = [
        model.sample(20, batch_size=3, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@everyone
def test_drawing_drops_nothing_and_keeps_no_gradient(name):
    model = MODELS[name]()
    drawn = model.train().sample(3, batch_size=2)
    assert drawn.shape == ((2, 3) if drawn.ndim == 2 else (2, 3, 2))
    assert not drawn.requires_grad
    assert model.training
    assert model.body.training
    assert model.sample(0, batch_size=2).shape[:2] == (2, 0)


def test_dropout_is_off_while_drawing():
    model, x = of_tokens(dropout=0.5), torch.randint(TOKENS, (2, 9))
    expected = model.sample(20, prefix=x, temperature=1e-9)
    assert torch.equal(model.train().sample(20, prefix=x, temperature=1e-9), expected)
    assert [module.training for module in model.modules()] == [True] * len([*model.modules()])


@pytest.mark.parametrize("scaling", ["fixed", "mean", "standard"])
@pytest.mark.parametrize("head", [Normal, StudentT, Quantiles], ids=lambda head: head.kind)
def test_a_series_a_thousand_times_larger_has_forecasts_a_thousand_times_larger(head, scaling):
    torch.manual_seed(2)
    model, x = of_numbers(head, size=2, scaling=scaling, residual=True), series(3, 12, 2)
    forecasts = []
    for unit in (1, 1000):
        model.fit_scaling(unit * x)
        last, now = model.read(unit * x)
        generator = torch.Generator().manual_seed(3)
        forecasts.append(model.forecast(5, now, last, paths=4, generator=generator))
    torch.testing.assert_close(forecasts[1], 1000 * forecasts[0], rtol=1e-8, atol=1e-6)


def test_a_saved_state_goes_on(tmp_path):
    model, x = of_numbers(size=2, scaling="standard"), series(2, 9, 2, missing=0.2)
    last, now = model.read(x)
    state.save(now, tmp_path / "state")
    loaded = state.load(tmp_path / "state")
    assert state.structure(loaded) == state.structure(now)
    one, other = (
        model.forecast(5, each, last, paths=3, generator=torch.Generator().manual_seed(0))
        for each in (now, loaded)
    )
    assert torch.equal(one, other)


# -- the contract ----------------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS)
@everyone
def test_the_model_keeps_the_law(name, law):
    def ids(batch, time):
        return torch.randint(TOKENS, (batch, time))

    model = MODELS[name]()
    check_layer(model, ids if model.inputs.discrete else None, laws=[law])


def test_a_model_learns_tokens_by_heart():
    torch.manual_seed(0)
    model = Autoregressive(TokenInputs(9, 16), GRU(16, 32), Categorical(32, 9))
    x = torch.randint(9, (4, 12))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        (-model.log_prob(x).mean()).backward()
        optimiser.step()
    # Which of four sequences it is must be guessed: log 4 nats in 12 steps, and no more.
    assert -model.log_prob(x).mean().item() < math.log(4) / 12 + 0.05


@pytest.mark.parametrize("head", [Normal, StudentT, Quantiles], ids=lambda head: head.kind)
def test_a_model_learns_numbers_by_heart(head):
    torch.manual_seed(0)
    inputs = NumberInputs(1)
    model = Autoregressive(inputs, GRU(inputs.output_size, 32), head(32, 1, residual=True))
    x = 50 + 10 * torch.randn(4, 12, 1)
    x[0, 5] = torch.nan
    model.fit_scaling(x)
    previous, _ = model.shift(x)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        model.head.loss(model(previous)[0], x).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert norm.isfinite()
        optimiser.step()
    error = (model.head.point(model(previous)[0]) - x)[:, 2:]
    assert error.nan_to_num().abs().mean().item() < 1.5  # of a deviation of 10


# -- what fits and what does not -------------------------------------------------------------------


def test_parts_that_do_not_fit():
    tokens, head = TokenInputs(TOKENS, 4), Categorical(8, TOKENS)
    for parts, words in (
        ((tokens, Bidirectional(RNN(4, 4)), head), "sees later steps, expected a causal body"),
        ((tokens, RNN(5, 8), head), "the body takes 5 features, the input layer gives 4"),
        ((tokens, RNN(4, 5), head), "the head takes 8 features, the body gives 5"),
        ((tokens, RNN(4, 8), Categorical(8, 7)), "the input layer has 3 tokens, the head 7 tokens"),
        ((tokens, RNN(4, 8), Normal(8, 3)), "3 tokens, the head 3 numbers per step"),
    ):
        with pytest.raises(InputError, match=words):
            Autoregressive(*parts)


def test_inputs_that_do_not_fit():
    tokens, numbers = of_tokens(), of_numbers(covariates=2)
    x, c = series(2, 5), torch.zeros(2, 5, 2, dtype=torch.float64)
    ids = torch.randint(TOKENS, (2, 5))
    for call, words in (
        (lambda: tokens(ids.double()), "expected token ids"),
        (lambda: tokens.log_prob(ids, covariates=c), "expected none"),
        (lambda: numbers.log_prob(x), r"got none, expected .* = \[2, 5, 2\]"),
        (lambda: numbers.log_prob(x, covariates=c[:, :4]), r"got shape \[2, 4, 2\]"),
        (lambda: numbers(torch.zeros(2, 5, 3).double(), covariates=c), "x has 3 features"),
        (lambda: numbers.sample(3, prefix=x, covariates=c), "reach 0 steps ahead, expected 3"),
        (lambda: tokens.sample(3, state=tokens.initial_state(1)), "a state and no prefix"),
        (lambda: tokens.read(ids[:, :0], state=tokens.initial_state(2)), "a state and no values"),
        (lambda: numbers.sample(1, covariates=c[:, :1], temperature=0.5), "for tokens only"),
        (lambda: tokens.fit_scaling(ids + 1), "targets hold 3"),
        (lambda: numbers.fit_scaling(x, c[..., :1]), "covariates have 1 numbers per step"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            call()


def test_covariates_are_standardised_by_the_training_data():
    model, x = of_numbers(covariates=1), series(4, 9)
    c = 1e6 + 1e3 * torch.randn(4, 9, 1, dtype=torch.float64)
    c[0, 0] = torch.nan
    model.fit_scaling(x, c)
    same = model.log_prob(x, covariates=c)
    assert same.isfinite().all()
    model.fit_scaling(x, (c - 1e6) / 1e3)
    torch.testing.assert_close(
        model.log_prob(x, covariates=(c - 1e6) / 1e3), same, rtol=1e-6, atol=1e-6
    )
