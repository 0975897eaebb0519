"""The recurrent encoder-decoder as one writes it with torch.nn's cells, for `translation`."""

from typing import Any

import torch
from torch.nn.functional import linear

from throughtime.commands.peers import CELLS, NN, give_weights
from throughtime.layers import Residual


def by_hand(cell, model):
    """A loop over torch.nn's cells, as one writes it; sources of one length."""
    decoder: Any = model.decoder
    body: Any = [
        layer.layer if isinstance(layer, Residual) else layer for layer in decoder.body.layers
    ]
    bottom, attention = body[:2]
    others: list[Any] = body[2:]
    width, layers = bottom.hidden_size, len(model.encoder.layers)
    encoder = NN[cell](width, width, layers, batch_first=True, bidirectional=True).eval()
    for k, both in enumerate(model.encoder.layers):
        give_weights(both.over, encoder, f"_l{k}")
        give_weights(both.against, encoder, f"_l{k}_reverse")
    cells = [CELLS[cell](layer.input_size, width) for layer in (bottom, *others)]
    for layer, one in zip((bottom, *others), cells, strict=True):
        give_weights(layer, one)
    bridge, shift = decoder.body.weight_bridge, decoder.body.bias_bridge
    source, target = model.source.embedding.weight, decoder.inputs.embedding.weight
    head = decoder.head.output

    def begun(memory) -> Any:
        """The first state of each cell."""
        ends = torch.cat([memory[:, -1, :width], memory[:, 0, width:]], -1)
        parts = linear(ends, bridge, shift).split(width, -1)
        if cell == "lstm":
            return [(h.tanh(), c) for h, c in zip(parts[::2], parts[1::2], strict=True)]
        return [h.tanh() for h in parts]

    def made(sources, task):
        x = torch.tensor(sources)

        def encoded() -> Any:
            memory, _ = encoder(source[x])
            return memory, linear(memory, attention.weight_key).transpose(1, 2), begun(memory)

        known = encoded() if task.encoded else None

        @torch.inference_mode()
        def run():
            memory, keys, first = encoded() if known is None else known
            states, written = [*first], []
            last = torch.full((len(x),), len(target) - 1)
            for _ in range(task.steps):
                y = target[last]
                for k, one in enumerate(cells):
                    states[k] = one(y, states[k])
                    h = states[k][0] if cell == "lstm" else states[k]
                    if k:
                        y = y + h
                        continue
                    look = torch.bmm(h.unsqueeze(1), keys).softmax(-1)
                    both = torch.cat([torch.bmm(look, memory).squeeze(1), h], -1)
                    y = linear(both, attention.weight_output, attention.bias).tanh()
                last = linear(y, head.weight, head.bias).argmax(-1)
                written.append(last)
            return torch.stack(written, 1).tolist()

        return run

    return made
