"""Train a GRU on a built-in series and look one day ahead, without the command line."""

import numpy as np

from throughtime import recipes
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit

opened = open_data(DataConfig("nyc-temperature", horizon=24))
config = recipes.forecast(opened, "gru", parameters=5_000, training={"epochs": 15})
model = fit(config, opened).model

assert isinstance(opened.task, Forecasting)
backtest = opened.task.backtest(model, origins=20)
print({name: round(value, 2) for name, value in backtest.metrics(scaled=False).items()})

lower, median, upper = np.quantile(backtest.samples[0, :, :, 0], [0.1, 0.5, 0.9], axis=0)
for hour in (0, 5, 11, 23):
    print(f"{hour + 1:2d} h ahead: {lower[hour]:5.1f} {median[hour]:5.1f} {upper[hour]:5.1f} °F")
