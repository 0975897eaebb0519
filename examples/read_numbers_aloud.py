"""An encoder-decoder learns to read numbers aloud, and shows which digits it looks at."""

import matplotlib.pyplot as plt
import torch

from throughtime import recipes
from throughtime.decoding.translating import translate
from throughtime.inspect import alignment, draw_alignment
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit

data = open_data(DataConfig("numerals"))
config = recipes.translation(
    data, "gru", parameters=None, model={"width": 64, "dropout": 0.0, "smoothing": 0.0},
    training={"epochs": 6, "batch_size": 512, "learning_rate": 5e-3},
)  # fmt: skip
model = fit(config, data).model
vocabulary = data.task.vocabulary
wrong = data.task.metrics(model)["wer"]
print(f"{wrong:.1f} % of the numbers that it has not seen are read wrong")

digits = "54321"
((answer,),) = translate(model, vocabulary, [digits])
print(digits, "->", answer.text)

x = torch.from_numpy(vocabulary.encode_source(digits))[None]
y = torch.from_numpy(vocabulary.encode_target(answer.text))[None]
figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
draw_alignment(ax, alignment(model, x, y)[0], [*digits, "end"], [*answer.text.split(), "end"])
figure.savefig("numbers.png", dpi=120)
