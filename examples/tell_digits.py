"""A GRU reads handwritten digits row by row, tells them apart, and says how sure it is."""

from throughtime import recipes
from throughtime.tasks.class_logits import probabilities
from throughtime.tasks.class_scores import most_wrong
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit

data = open_data(DataConfig("digits"))
config = recipes.classification(
    data, "gru", parameters=None, model={"width": 32},
    training={"epochs": 12, "batch_size": 64, "learning_rate": 0.01},
)  # fmt: skip
model = fit(config, data).model
found = data.task.metrics(model)
print(f"{found['accuracy']:.1f} % of the digits that it has not seen are told rightly")
print(f"probabilities are off by {found['ece']:.1f} points, temperature {model.temperature:.2f}")

test, names = data.task.parts.test, data.task.labels.names
_, targets = data.task.coded("test")
sure = probabilities(data.task.logits(model))
for row in (0, 1, 2, *most_wrong(sure, targets, 2)):
    print(f"\nthis is {test.labels[row]}, the model says:")
    for pixels in test.values[row, 0]:
        print("  " + "".join(" .:oO@"[pixel // 43] * 2 for pixel in pixels))
    for answer in sure[row].argsort()[:-4:-1]:
        print(f"  {names[answer]}: {100 * sure[row, answer]:5.1f} %")
