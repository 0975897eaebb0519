"""Train a small Transformer on text, let it write, and draw what it attends to in one sentence."""

import matplotlib.pyplot as plt
import torch

from throughtime import recipes
from throughtime.decoding import Sampling, generate
from throughtime.inspect.attention import attention_maps, draw_attention
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit

opened = open_data(DataConfig("words"))  # made-up words; the vowels of each agree
size = {"layers": 2, "heads": 2, "width": 32}
config = recipes.language(opened, "transformer", model=size, training={"epochs": 60})
model = fit(config, opened).model
print(f"validation: {opened.task.validate(model).nats:.2f} nats per character")

vocabulary = opened.task.vocabulary  # pyright: ignore[reportAttributeAccessIssue]
start = torch.from_numpy(vocabulary.encode("\ndrus"))
written = generate(model, [start], 60, sampling=Sampling(temperature=0.7), seed=1)
print("drus" + vocabulary.decode(written.tokens[0].tolist()))

sentence = "flusti garmon\n"
maps = attention_maps(model, torch.from_numpy(vocabulary.encode(sentence.replace(" ", "\n")))[None])
figure, axes = plt.subplots(2, 2, figsize=(8, 8), layout="constrained")
for row, (name, weights) in zip(axes, maps.items(), strict=True):
    for head, ax in enumerate(row):
        draw_attention(ax, weights[0, head], sentence, title=f"{name}, head {head}")
figure.savefig("attention.png", dpi=120)
print("drawn: attention.png")
