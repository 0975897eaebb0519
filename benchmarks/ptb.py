"""The small LSTM of Zaremba et al. with our layers and with torch.nn's, in one loop and process.

`python -m benchmarks.ptb FOLDER`, a folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt (or
`.gz`). A few hundred updates of each are timed in turn, ours and theirs; the time of an epoch is
extrapolated from their median. `throughtime fit FOLDER --tokens words --recipe ptb-small-lstm`
trains to the end.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from throughtime import kernels, recipes
from throughtime.layers import Layer
from throughtime.layers.lstm import LSTMState
from throughtime.models import build
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.language import LanguageModelling
from throughtime.tasks.likelihood import loss
from throughtime.tasks.opening import open_data
from throughtime.training.trainer import Trainer


class TorchLSTM(Layer):
    """torch.nn.LSTM under the contract, as far as streams need it.

    Rows begin anew at a first step only, and padding comes last in an epoch, where no state is
    read any more; so neither costs torch.nn anything here.
    """

    def __init__(self, input_size, hidden_size, layers):
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.lstm = nn.LSTM(input_size, hidden_size, layers, batch_first=True)

    def initial_state(self, batch_size, *, device=None, dtype=None):
        zeros = self.like().new_zeros(batch_size, self.lstm.num_layers, self.lstm.hidden_size)
        return LSTMState(zeros.to(device, dtype), zeros.to(device, dtype))

    def run(self, x, state, mask, reset):
        if reset is not None:
            begins = reset[:, 0, None, None]
            state = LSTMState(*(torch.where(begins, 0, part) for part in state))
        past = tuple(part.transpose(0, 1).contiguous() for part in state)
        output, after = self.lstm(x, past)
        if mask is not None:
            output = torch.where(mask.unsqueeze(-1), output, 0)
        return output, LSTMState(*(part.transpose(0, 1) for part in after))


def theirs_like(ours, config):
    """The same model with torch.nn's LSTM, and the same weights everywhere else."""
    model = build(config)
    model.load_state_dict(ours.state_dict())
    model.body = TorchLSTM(config.width, config.width, config.layers)
    for weight in model.body.parameters():
        nn.init.uniform_(weight, -config.uniform, config.uniform)
    return model


def updates(model, opened, config):
    """A function that makes so many updates, one after another."""
    training = config.training
    source = opened.task.source(training.batch_size, training.window, training.seed)
    trainer = Trainer(model, source, loss, training, None, None)
    cuts = trainer.cuts()

    def run(number):
        for _ in range(number):
            trainer.update(next(cuts))

    return run, len(source.epoch(0)[0])


def clock(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description="The small LSTM of Zaremba et al. on words.")
    parser.add_argument("folder", help="with ptb.train.txt, ptb.valid.txt and ptb.test.txt")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--updates", type=int, default=15, help="per turn")
    arguments = parser.parse_args()

    opened = open_data(DataConfig(arguments.folder, tokens="words"))
    assert isinstance(opened.task, LanguageModelling)
    config = recipes.ptb_small_lstm(opened)
    torch.manual_seed(0)
    ours = build(config.model)
    models = {"ours": ours, "torch.nn": theirs_like(ours, config.model)}
    runs, in_epoch = {}, 0
    for name, model in models.items():
        runs[name], in_epoch = updates(model, opened, config)
        runs[name](5)  # to warm up
    times = {name: [] for name in runs}
    held = dict.fromkeys(runs, 0.0)
    for _ in range(arguments.turns):
        for name, run in runs.items():
            times[name].append(clock(lambda run=run: run(arguments.updates)) / arguments.updates)
    for name, model in models.items():
        held[name] = clock(lambda model=model: opened.task.validate(model))

    kernel = kernels.active()["lstm"].name
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, kernel {kernel!r}")
    print(f"{arguments.turns} x {arguments.updates} updates of each in turn; an epoch has "
          f"{in_epoch:,}, its time is extrapolated from the median\n")  # fmt: skip
    print("         | update, ms | lowest | epoch, s | validation, s | words/s")
    words = len(opened.task.training)
    for name in runs:
        update = statistics.median(times[name])
        epoch = update * in_epoch
        print(f"{name:8} | {1e3 * update:10.1f} | {1e3 * min(times[name]):6.1f} | {epoch:8.0f} | "
              f"{held[name]:13.1f} | {words / epoch:7,.0f}")  # fmt: skip
    medians = [statistics.median(times[name]) for name in ("torch.nn", "ours")]
    print(f"\ntorch.nn takes {medians[0] / medians[1]:.2f} times as long per update")


if __name__ == "__main__":
    main()
