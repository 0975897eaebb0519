"""Training of a Transformer on characters, beside a hand-written one and torch.nn's.

`python -m benchmarks.transformer`: forward, backward and an update by AdamW, 12 texts of 256
characters, with the same weights' shapes everywhere: learned positions, norms first, exact GELU.
All are timed in turn in one process; characters per second from the median.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional

from benchmarks import record
from throughtime.commands.clocks import in_turn, matrix_rates
from throughtime.models import ModelConfig, build
from throughtime.models.sizing import parameters

TOKENS, CONTEXT = 65, 256
SIZES = {"4 x 128": (4, 128, 4), "6 x 384": (6, 384, 6)}


class HandWritten(nn.Module):
    """A GPT as one writes it with torch's fused attention, and nothing else."""

    class Block(nn.Module):
        def __init__(self, width, heads, *, causal=True):
            super().__init__()
            self.heads, self.causal = heads, causal
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            batch, time, width = x.shape
            heads = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, -1)
            q, k, v = heads.permute(2, 0, 3, 1, 4)
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            x = x + self.out(seen.transpose(1, 2).reshape(batch, time, width))
            return x + self.narrow(functional.gelu(self.wide(self.norm2(x))))

    def __init__(self, layers, width, heads):
        super().__init__()
        self.token, self.place = nn.Embedding(TOKENS, width), nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(self.Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, TOKENS)

    def loss(self, x, y):
        h = self.token(x) + self.place.weight[: x.shape[1]]
        logits = self.head(self.norm(self.blocks(h)))
        return functional.cross_entropy(logits.flatten(0, 1), y.flatten())


class TorchEncoder(nn.Module):
    """The same by torch.nn.TransformerEncoder with a causal mask."""

    def __init__(self, layers, width, heads):
        super().__init__()
        self.token, self.place = nn.Embedding(TOKENS, width), nn.Embedding(CONTEXT, width)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(
            block, layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Linear(width, TOKENS)
        self.future = nn.Transformer.generate_square_subsequent_mask(CONTEXT)

    def loss(self, x, y):
        h = self.token(x) + self.place.weight[: x.shape[1]]
        logits = self.head(self.body(h, self.future, is_causal=True))
        return functional.cross_entropy(logits.flatten(0, 1), y.flatten())


class Ours(nn.Module):
    """Ours as training calls it."""

    def __init__(self, layers, width, heads):
        super().__init__()
        self.model = build(
            ModelConfig("transformer", tokens=TOKENS, width=width, layers=layers, heads=heads,
                        horizon=CONTEXT - 1, position="learned")
        )  # fmt: skip

    def loss(self, x, y):
        hidden, context, _ = self.model.features(x)
        return self.model.head.total_loss(hidden, y, context) / y.numel()


KINDS = {"ours": Ours, "hand-written": HandWritten, "torch.nn": TorchEncoder}


def update(model, x, y, *, half):
    """One step of training, as a function without arguments."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def run():
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model.loss(x, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return run


def measure(name, batch, seconds, *, half):
    layers, width, heads = SIZES[name]
    x, y = torch.randint(TOKENS, (2, batch, CONTEXT))
    runs, size = {}, 0
    for kind, make in KINDS.items():
        torch.manual_seed(0)
        model = make(layers, width, heads)
        size = parameters(model)
        runs[kind] = update(model, x, y, half=False)
        if half:
            torch.manual_seed(0)
            runs[f"{kind}, bfloat16"] = update(make(layers, width, heads), x, y, half=True)
    times = in_turn(runs, seconds=seconds)
    # Two operations forwards and four backwards for each weight and each pair that attends.
    pairs = layers * batch * width * CONTEXT * (CONTEXT + 1) / 2 * 2
    operations = 6 * (size * batch * CONTEXT + pairs)
    return {
        kind: {
            "seconds": time.median,
            "characters": batch * CONTEXT / time.median,
            "rate": operations / time.median,
        }
        for kind, time in times.items()
    }


def lines(found):
    header = ["layers x width", "trained by", "ms", "characters/s", "ours is", "share of peak"]
    rows = []
    for size, kinds in found["sizes"].items():
        for kind, one in kinds.items():
            rows.append([
                size, kind, record.milliseconds(one["seconds"]),
                record.Number(f"{one['characters']:,.0f}"),
                record.times(one["seconds"] / kinds["ours"]["seconds"]),
                record.percent(one["rate"] / found["peak"]),
            ])  # fmt: skip
    return header, rows


def main():
    parser = argparse.ArgumentParser(description="Training of a Transformer beside peers.")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20.0, help="per size")
    parser.add_argument("--half", action="store_true", help="bfloat16 by autocast as well")
    record.add_options(parser)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    found = {"machine": record.versions(), "peak": max(matrix_rates().values()), "sizes": {}}
    for size in given.sizes:
        found["sizes"][size] = measure(size, given.batch, given.seconds, half=given.half)
    header, rows = lines(found)
    text = (
        f"# Training a Transformer\n\n{record.headline(found['machine'])}.\n\n"
        f"{given.batch} texts of {CONTEXT} characters; forward, backward and update; "
        f"peak of matrix products {found['peak'] / 1e9:.0f} GFLOP/s.\n\n"
        + record.table(header, rows)
    )
    print(text)
    if given.save:
        record.save(given.save, "transformer", text, found, {})


if __name__ == "__main__":
    main()
