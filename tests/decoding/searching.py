"""What a beam search should find, worked out by looking at everything."""

import itertools

import torch

from tests.decoding.models import logits_after
from throughtime.models import ModelConfig, build


def tiny(kind, tokens, seed=0, std=1.5):
    """A model whose next token matters: some endings are likely after some tokens only."""
    torch.manual_seed(seed)
    model = build(ModelConfig(kind, tokens=tokens, width=8, heads=2, horizon=6, window=4))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=std)
    return model.double().eval()


@torch.no_grad()
def every_output(model, prompt, steps, stop):
    """Each output of at most `steps` tokens: its log probability, and whether it ended."""
    lines = torch.tensor(list(itertools.product(range(model.head.size), repeat=steps)))
    whole = torch.cat([prompt.long().expand(len(lines), -1), lines], 1)
    sums = model.log_prob(whole)[:, len(prompt) :].cumsum(1).tolist()
    found = {}
    for line, total in zip(lines.tolist(), sums, strict=True):
        ends = [at for at, token in enumerate(line) if token in stop]
        length = ends[0] + 1 if ends else steps
        found[tuple(line[:length])] = total[length - 1], bool(ends)
    return found


def best_outputs(outputs, n_best, penalty):
    """The best that ended, then the best that did not: tokens, scores, ended."""
    scored = [
        (not ended, -total / len(line) ** penalty, line) for line, (total, ended) in outputs.items()
    ]
    return [(line, -score, not late) for late, score, line in sorted(scored)[:n_best]]


def search_by_loops(model, prompt, steps, beams, n_best, stop, penalty):
    """Beam search by its definition, the whole sequence read again for each step."""
    going, found = [(0.0, ())], {}
    for _ in range(steps):
        candidates = []
        for place, (total, line) in enumerate(going):
            expected = logits_after(model, prompt.tolist() + list(line)).log_softmax(-1).tolist()
            candidates += [
                (-(total + nats), place, token, (*line, token))
                for token, nats in enumerate(expected)
            ]
        candidates.sort()
        for total, _, token, line in candidates[:beams]:
            if token in stop:
                found[line] = -total, True
        going = [(-total, line) for total, _, token, line in candidates if token not in stop]
        going = going[:beams]
    found |= {line: (total, False) for total, line in going}
    return best_outputs(found, n_best, penalty)


def outputs_of(found, row):
    """Of a row of a `BeamSearch`, in the form of `best_outputs`."""
    parts = (found.tokens[row], found.lengths[row], found.scores[row], found.ended[row])
    return [
        (tuple(line[:length]), score, ended)
        for line, length, score, ended in zip(*(part.tolist() for part in parts), strict=True)
        if length
    ]


def assert_same(found, expected):
    assert [(line, ended) for line, _, ended in found] == [
        (line, ended) for line, _, ended in expected
    ]
    scores = torch.tensor([[one[1], other[1]] for one, other in zip(found, expected, strict=True)])
    assert torch.allclose(scores[:, 0], scores[:, 1], rtol=1e-9)


def holds(line, phrase):
    """Whether a phrase stands somewhere in a line."""
    size = len(phrase)
    return any(tuple(line[k : k + size]) == tuple(phrase) for k in range(len(line) - size + 1))
