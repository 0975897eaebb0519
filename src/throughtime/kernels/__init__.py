"""One folder per operation worth speeding up: its definition beside its fast versions.

Which implementation runs depends on the device, the type and what is installed, never on the
length or the content of the data. [`use`][throughtime.kernels.use] forces one and
[`active`][throughtime.kernels.active] says which runs and why.
"""

from throughtime.kernels.attention import attention
from throughtime.kernels.gru import gru
from throughtime.kernels.lstm import lstm
from throughtime.kernels.registry import Choice, active, use
from throughtime.kernels.rnn import rnn
from throughtime.kernels.single import single_step

__all__ = ["Choice", "active", "attention", "gru", "lstm", "rnn", "single_step", "use"]
