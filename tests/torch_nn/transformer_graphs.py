"""Compiled and exported attention; test_transformer_beyond.py runs this in a process of its own.

The shape checks of the tests cannot be traced.
"""

import json
import sys
import warnings
from typing import Any

import torch
from torch.export import Dim, export

from throughtime import torch_nn as nn

SIZE, HEADS = 8, 2


def masks(rows, time):
    """A causal mask and padding; the last row has nothing real."""
    lengths = torch.arange(rows).flip(0) % (time + 1)
    return torch.ones(time, time).triu(1).bool(), torch.arange(time) >= lengths[:, None]


def attention(causal):
    layer = nn.MultiheadAttention(SIZE, HEADS, batch_first=True)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, mask, hidden):
            return self.layer(x, x, x, hidden, need_weights=causal, attn_mask=mask)

    return Model()


def encoder():
    layer = nn.TransformerEncoderLayer(SIZE, HEADS, 16, 0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(SIZE))


class Both(nn.Module):
    """Encoder and decoder of the same padded steps."""

    def __init__(self):
        super().__init__()
        self.model = nn.Transformer(SIZE, HEADS, 1, 1, 16, 0.0, batch_first=True)

    def forward(self, x, mask, hidden):
        return self.model(
            x, x, tgt_mask=mask, src_key_padding_mask=hidden, tgt_key_padding_mask=hidden,
            memory_key_padding_mask=hidden, tgt_is_causal=True,
        )  # fmt: skip


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def gradients(module, model, given):
    output = model(*given)
    output = output if isinstance(output, torch.Tensor) else output[0]
    return output, *torch.autograd.grad(output.square().sum(), [*module.parameters()])


def check_compiled(module):
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    given = (torch.randn(3, 5, SIZE), *masks(3, 5))
    same(gradients(module, compiled, given), gradients(module, module, given))


def check_exported(module):
    module = module.eval()
    rows, time = Dim("rows", min=2, max=64), Dim("time", min=2, max=64)
    shapes = ({0: rows, 1: time}, {0: time, 1: time}, {0: rows, 1: time})
    program = export(module, (torch.randn(3, 5, SIZE), *masks(3, 5)), dynamic_shapes=shapes)
    for sizes in ((2, 9), (4, 2), (7, 13)):
        given = (torch.randn(*sizes, SIZE), *masks(*sizes))
        found, expected = (call(*given) for call in (program.module(), module))
        one = [found] if isinstance(found, torch.Tensor) else found
        same(one, [expected] if isinstance(expected, torch.Tensor) else expected)


def check_traced(module):
    module = module.eval()
    traced: Any = torch.jit.trace(
        module, (torch.randn(3, 5, SIZE), *masks(3, 5)), check_trace=False
    )
    for sizes in ((3, 5), (4, 7)):
        given = (torch.randn(*sizes, SIZE), *masks(*sizes))
        same([traced(*given)], [module(*given)])


CHECKS = {
    "compiled attention": lambda: check_compiled(attention(causal=False)),
    "compiled encoder": lambda: check_compiled(encoder()),
    "compiled transformer": lambda: check_compiled(Both()),
    "exported attention with weights": lambda: check_exported(attention(causal=True)),
    "exported encoder": lambda: check_exported(encoder()),
    "exported transformer": lambda: check_exported(Both()),
    "traced encoder": lambda: check_traced(encoder()),
    "traced transformer": lambda: check_traced(Both()),
}


def main():
    warnings.simplefilter("ignore")
    results = {}
    for name, check in CHECKS.items():
        torch.manual_seed(0)
        try:
            check()
            results[name] = None
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}"[:2000]
    print(json.dumps(results))


if __name__ == "__main__":
    sys.exit(main())
