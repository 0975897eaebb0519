"""Models with random weights, in float64, and plain loops to compare with."""

import torch

from throughtime.models import ModelConfig, build
from throughtime.models.ngram import NGram

TOKENS = 11


def make(kind, dropout=0.0):
    torch.manual_seed(1)
    if kind == "ngram":
        text = torch.randint(TOKENS, (1, 400))
        return NGram(3, TOKENS).fit(text).double().eval()
    config = ModelConfig(
        kind, tokens=TOKENS, width=8, window=4, layers=2, heads=2, horizon=6, dropout=dropout
    )
    model = build(config).double().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.8)
    return model


def prompts(*lengths):
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(TOKENS, (length,), generator=generator) for length in lengths]


@torch.no_grad()
def logits_after(model, ids):
    """Of the token after `ids`, by one call over all of them."""
    fed = torch.cat([model.begin(1)[0], torch.as_tensor(ids, dtype=torch.long)])
    return model(fed[None])[0][0, -1]


def greedy_loop(model, prompt, steps):
    """The likeliest token, the whole sequence read again for each; and its log probability."""
    ids, scores = prompt.tolist(), []
    for _ in range(steps):
        expected = logits_after(model, ids).log_softmax(-1)
        ids.append(int(expected.argmax()))
        scores.append(float(expected.max()))
    return ids[len(prompt) :], scores
