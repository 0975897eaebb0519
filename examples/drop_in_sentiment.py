"""A sentiment classifier written for torch.nn, with the import changed: same losses, less time.

Two LSTM layers in both directions read reviews of different lengths, packed as torch.nn wants them.
The model is built twice from the same code and the same weights, `nn` being `torch.nn` and
`throughtime.torch_nn`. The reviews are made up: what counts is the last judgement, turned around by
a "not" before it.
"""

import random
import time

import torch

from throughtime import torch_nn

GOOD = ["good", "great", "superb", "clever", "moving", "funny", "lovely"]
BAD = ["bad", "dull", "poor", "silly", "boring", "weak", "sad"]
FILLING = [
    "the",
    "film",
    "plot",
    "cast",
    "music",
    "end",
    "is",
    "was",
    "a",
    "very",
    "and",
    "or",
    "it",
    "this",
    "with",
    "so",
]
WORDS = ["", "not", *GOOD, *BAD, *FILLING]
NUMBER = {word: number for number, word in enumerate(WORDS)}
BATCH, STEPS = 32, 40


def build(nn):
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(len(WORDS), 32, padding_idx=0)
            self.lstm = nn.LSTM(32, 64, num_layers=2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(128, 1)

        def forward(self, words, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(
                self.embedding(words), lengths, batch_first=True, enforce_sorted=False
            )
            _, (hidden, _) = self.lstm(packed)
            return self.head(torch.cat([hidden[-2], hidden[-1]], dim=1)).squeeze(1)

    return Classifier()


def review(chance):
    """Words, and whether they praise."""
    words = []
    good = turned = False
    for _ in range(chance.randint(1, 6)):
        words += chance.choices(FILLING, k=chance.randint(1, 7))
        good, turned = chance.random() < 0.5, chance.random() < 0.4
        words += ["not"] * turned + [chance.choice(GOOD if good else BAD)]
    return words, good != turned


def batches(seed):
    """Word numbers padded on the right, lengths, and labels."""
    chance, found = random.Random(seed), []
    for _ in range(STEPS):
        texts, labels = zip(*(review(chance) for _ in range(BATCH)), strict=True)
        rows = [torch.tensor([NUMBER[word] for word in text]) for text in texts]
        words = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        found.append((words, torch.tensor([*map(len, rows)]), torch.tensor(labels).float()))
    return found


def train(model, batches):
    """The loss of each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for words, lengths, labels in batches:
        said = model(words, lengths)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(said, labels)
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
