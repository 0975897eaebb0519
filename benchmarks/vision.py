"""Training of a vision Transformer, beside hand-written ones of the same shape in torch.

`python -m benchmarks.vision`: forward, backward and an update by AdamW, 128 images of 28 x 28
pixels in squares of 4, four blocks of 64 with four heads, mean over the squares, float32. All are
timed in turn in one process; images per second from the median.
"""

import argparse
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks import record
from benchmarks.transformer import HandWritten as TextTransformer
from benchmarks.transformer import update
from throughtime.commands.clocks import in_turn, matrix_rates
from throughtime.data.example_batches import ExampleBatch
from throughtime.models.building import make
from throughtime.models.config import ModelConfig
from throughtime.models.sizing import parameters
from throughtime.tasks import class_loss

IMAGE, PATCH, CLASSES, BATCH = 28, 4, 10, 128
SIZES = {"4 x 64": (4, 64, 4), "6 x 128": (6, 128, 4)}


class HandWritten(nn.Module):
    """A vision Transformer as one writes it with torch's fused attention, and nothing else."""

    def __init__(self, layers, width, heads):
        super().__init__()
        self.cut = nn.Conv2d(1, width, PATCH, PATCH)
        self.place = nn.Parameter(torch.randn((IMAGE // PATCH) ** 2, width) * 0.02)
        self.blocks = nn.Sequential(
            *(TextTransformer.Block(width, heads, causal=False) for _ in range(layers))
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def loss(self, x, y):
        h = self.cut(x.float() / 255).flatten(2).transpose(1, 2) + self.place
        return functional.cross_entropy(self.head(self.norm(self.blocks(h)).mean(1)), y)


class TorchEncoder(HandWritten):
    """The same by torch.nn.TransformerEncoder."""

    def __init__(self, layers, width, heads):
        super().__init__(0, width, heads)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)


class Ours(nn.Module):
    """Ours as training calls it."""

    def __init__(self, layers, width, heads):
        super().__init__()
        self.model: Any = make(
            ModelConfig(
                kind="transformer", classes=CLASSES, image=(1, IMAGE, IMAGE), patch=PATCH,
                width=width, layers=layers, heads=heads, around=True, position="learned",
            )
        )  # fmt: skip

    def loss(self, x, y):
        total, count, _ = class_loss.loss(self.model, ExampleBatch(x, y), None)
        return total / count


WAYS = {"throughtime": Ours, "hand-written": HandWritten, "torch.nn": TorchEncoder}


def operations(layers, width):
    """Of products in a training step: three times those of forward, two for each weight."""
    steps = (IMAGE // PATCH) ** 2
    each = 12 * width**2 + 2 * steps * width  # of a block for one step: weights, and attention
    return 3 * 2 * BATCH * steps * (layers * each + PATCH**2 * width)


def measure(name, seconds, *, half):
    layers, width, heads = SIZES[name]
    torch.manual_seed(0)
    x = torch.randint(0, 256, (BATCH, 1, IMAGE, IMAGE), dtype=torch.uint8)
    y = torch.randint(0, CLASSES, (BATCH,))
    models = {way: make_one(layers, width, heads) for way, make_one in WAYS.items()}
    runs = {way: update(model, x, y, half=half) for way, model in models.items()}
    return [
        {
            "size": f"{name}, bfloat16" if half else name,
            "way": way,
            "parameters": parameters(models[way]),
            "seconds": found.median,
            "images": BATCH / found.median,
            "operations": operations(layers, width),
        }
        for way, found in in_turn(runs, seconds=seconds).items()
    ]


def lines(found):
    """A row per size: images per second, and how many times faster ours is."""
    rows = []
    for size in dict.fromkeys(row["size"] for row in found["rows"]):
        by = {row["way"]: row for row in found["rows"] if row["size"] == size}
        ours = by["throughtime"]
        rate = ours["operations"] / ours["seconds"]
        rows.append([
            size,
            record.Number(f"{ours['parameters']:,}"),
            *(record.Number(f"{by[way]['images']:,.0f}") for way in WAYS),
            *(record.times(by[way]["seconds"] / ours["seconds"]) for way in [*WAYS][1:]),
            record.percent(rate / found["peak"]),
        ])  # fmt: skip
    ways = [f"{way}, images/s" for way in WAYS]
    beside = [f"to {way}" for way in [*WAYS][1:]]
    return ["layers x width", "parameters", *ways, *beside, "share of peak"], rows


def main():
    parser = argparse.ArgumentParser(description="Training speed of vision Transformers.")
    parser.add_argument("--seconds", type=float, default=30.0, help="per size")
    parser.add_argument("--half", action="store_true", help="bfloat16 by autocast as well")
    record.add_options(parser)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    machine = record.versions()
    rows = [
        row
        for name in SIZES
        for half in ([False, True] if options.half else [False])
        for row in measure(name, options.seconds, half=half)
    ]
    found = {"machine": machine, "peak": max(matrix_rates().values()), "rows": rows}
    text = (
        f"{record.headline(machine)}; peak of matrix products {found['peak'] / 1e9:.0f} GFLOP/s"
        f"\n\n{record.table(*lines(found))}"
    )
    print(text)
    if options.save:
        record.save(options.save, "vision", text, found, {})


if __name__ == "__main__":
    main()
