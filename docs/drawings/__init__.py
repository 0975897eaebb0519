"""The notes' drawings: circuits, blocks and maps, each number computed while it is drawn."""

from collections.abc import Callable

from drawings.circuits import gru_cell, lstm_cell
from drawings.gradients import bptt_truncated, bptt_whole, gradient_product
from drawings.inputs import patches, positions, probability
from drawings.looking import attention, cross_attention, multi_head
from drawings.recurrent import latent, rnn_unrolled, window
from drawings.transformers import encoder_block, transformer
from drawings.units import gru_run, lstm_run
from throughtime.inspect.drawing import Figure, styled
from throughtime.inspect.theme import Theme

DRAWINGS: dict[str, Callable[[Theme], Figure]] = {
    "rnn-unrolled": rnn_unrolled,
    "bptt": bptt_whole,
    "truncated-bptt": bptt_truncated,
    "gradient-product": gradient_product,
    "window": window,
    "latent": latent,
    "lstm-cell": lstm_cell,
    "lstm-run": lstm_run,
    "gru-cell": gru_cell,
    "gru-run": gru_run,
    "transformer": transformer,
    "encoder-block": encoder_block,
    "attention": attention,
    "multi-head": multi_head,
    "positions": positions,
    "cross-attention": cross_attention,
    "patches": patches,
    "probability": probability,
}


def drawing(name: str, theme: Theme) -> Figure:
    """One of them, in the project's fonts."""
    return styled(DRAWINGS[name])(theme)
