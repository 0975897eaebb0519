"""Published recipes train as published."""

import pytest
import torch
from torch import nn

from throughtime import recipes
from throughtime.errors import InputError
from throughtime.models import build
from throughtime.models.sizing import count
from throughtime.recipes.published import ptb_small_lstm
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.likelihood import loss
from throughtime.tasks.opening import open_data
from throughtime.training.schedules import make_schedule
from throughtime.training.trainer import Trainer


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    generator = torch.Generator().manual_seed(0)
    for part, size in (("train", 4000), ("valid", 200), ("test", 200)):
        words = torch.randint(50, (size,), generator=generator).tolist()
        lines = [" ".join(f"w{word}" for word in words[at : at + 10]) for at in range(0, size, 10)]
        (folder / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return open_data(DataConfig(str(folder), tokens="words"))


def test_the_model_is_the_published_one(opened):
    config = ptb_small_lstm(opened)
    tokens = len(opened.task.vocabulary)
    # Vectors (one more, for the beginning; short: the words are few), two layers, the softmax.
    features = min(tokens, 200)
    layers = 4 * 200 * (features + 200 + 1) + 4 * 200 * (200 + 200 + 1)
    assert count(config.model) == (tokens + 1) * features + layers + tokens * 200 + tokens


def test_the_rate_is_halved_in_each_epoch_after_the_fourth(opened):
    config = ptb_small_lstm(opened).training
    schedule = make_schedule(config, validates=True)
    shares = [schedule.share(0, epoch, 0.0) for epoch in range(13)]
    assert shares == [1.0] * 4 + [0.5**n for n in range(1, 10)]


@pytest.mark.parametrize("scale", [1.0, 30.0])  # with large weights the gradient is clipped
def test_an_update_is_the_published_one(opened, scale):
    """The loss summed over 20 steps, a mean over 20 rows; rate 1, norm 5."""
    config = ptb_small_lstm(opened, training={"dtype": "float64"})
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(build(config.model).double())
        with torch.no_grad():
            for weight in models[-1].parameters():
                weight *= scale
    source = opened.task.source(20, 20, 0, shuffle=False)
    first = source.epoch(0)[0][0]
    assert first.shape == (20, 20)

    trainer = Trainer(models[0], source, loss, config.training, None, None)
    trainer.update(next(trainer.cuts()))

    total, _, _ = loss(models[1], first, None)
    (total / 20).backward()
    weights = list(models[1].parameters())
    norm = nn.utils.clip_grad_norm_(weights, 5.0)
    assert (norm > 5) == (scale > 1)
    torch.optim.SGD(weights, lr=1.0).step()
    for ours, published in zip(models[0].parameters(), weights, strict=True):
        torch.testing.assert_close(ours, published, rtol=0, atol=1e-10 * scale)


def test_what_is_told_goes_before(opened):
    assert ptb_small_lstm(opened, training={"epochs": 2}).training.epochs == 2
    assert recipes.PUBLISHED["ptb-small-lstm"] is ptb_small_lstm


def test_only_words_will_do():
    with pytest.raises(InputError, match="is for text cut into words: --tokens words"):
        ptb_small_lstm(open_data(DataConfig("words")))
