"""A Transformer language model written for torch.nn, with the import changed: same losses.

Characters of the Python reference, a sinusoidal encoding of their places, two encoder layers under
a causal mask, and a guess at the next character. The model is built twice from the same code and
the same weights, `nn` being `torch.nn` and `throughtime.torch_nn`.
"""

import math
import time

import torch

from throughtime import torch_nn
from throughtime.data import builtin

WIDTH, HEADS, LAYERS, LENGTH, BATCH, STEPS = 128, 4, 2, 128, 16, 40
CHARACTERS = 128


def build(nn):
    class PositionalEncoding(nn.Module):
        def __init__(self):
            super().__init__()
            place = torch.arange(LENGTH).unsqueeze(1)
            rate = torch.exp(torch.arange(0, WIDTH, 2) * (-math.log(10000.0) / WIDTH))
            encoding = torch.stack([torch.sin(place * rate), torch.cos(place * rate)], dim=-1)
            self.register_buffer("encoding", encoding.flatten(1))

        def forward(self, x):
            return x + self.encoding[: x.shape[1]]

    class LanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(CHARACTERS, WIDTH)
            self.position = PositionalEncoding()
            # no dropout, so that the losses can be compared
            layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, LAYERS)
            self.head = nn.Linear(WIDTH, CHARACTERS)

        def forward(self, characters):
            mask = nn.Transformer.generate_square_subsequent_mask(characters.shape[1])
            x = self.position(self.embedding(characters) * math.sqrt(WIDTH))
            return self.head(self.encoder(x, mask=mask, is_causal=True))

    return LanguageModel()


def batches(seed):
    """Pieces of text, each with the same piece one character further on."""
    text = str(builtin.load("python-docs"))
    codes = torch.tensor([min(code, CHARACTERS - 1) for code in text.encode()])
    windows = codes.unfold(0, LENGTH + 1, 1)
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(windows), (STEPS, BATCH), generator=random)
    return [(windows[rows, :-1], windows[rows, 1:]) for rows in drawn]


def train(model, batches):
    """The loss of each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0003)
    losses = []
    for seen, following in batches:
        logits = model(seen).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, following.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    torch.manual_seed(0)
    before, after = build(torch.nn), build(torch_nn)
    after.load_state_dict(before.state_dict())
    data, losses = batches(seed=0), []
    for name, model in (("torch.nn", before), ("throughtime.torch_nn", after)):
        start = time.perf_counter()
        losses.append(train(model, data))
        took = time.perf_counter() - start
        print(f"{name:20}  {took:5.2f} s, loss {losses[-1][0]:.4f} to {losses[-1][-1]:.4f}")
    apart = max(abs(a - b) for a, b in zip(*losses, strict=True))
    print(f"losses differ by {apart:.1e} at most")
    assert apart < 1e-3


if __name__ == "__main__":
    main()
