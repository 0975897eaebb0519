"""Layers: `output, state = layer(x, state, mask, reset)`, always."""

from throughtime.layers.attention import SelfAttention, SelfAttentionState, scaled_dot_product
from throughtime.layers.base import Layer, Recurrent, Stateless
from throughtime.layers.block import BlockState, TransformerBlock
from throughtime.layers.cross_attention import CrossAttention, MemoryState
from throughtime.layers.feed_forward import FeedForward
from throughtime.layers.global_attention import AnnotationState, GlobalAttention
from throughtime.layers.gram_bag import BagState, GramBag
from throughtime.layers.grams import GramEmbedding, GramState
from throughtime.layers.gru import GRU, GRUState
from throughtime.layers.image_patches import ImagePatches
from throughtime.layers.lstm import LSTM, LSTMState
from throughtime.layers.patches import PatchEmbedding
from throughtime.layers.pooling import AttentionPooling, MaxPooling, MeanPooling
from throughtime.layers.position import Position, PositionState
from throughtime.layers.recurrent_decoder import RecurrentDecoder
from throughtime.layers.rnn import RNN, RNNState
from throughtime.layers.stack import Bidirectional, Residual, Stack
from throughtime.layers.stateless import Dropout, Embedding, Linear, Norm
from throughtime.layers.transformer import Decoder, Encoder
from throughtime.layers.window import Window, WindowState

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AnnotationState",
    "AttentionPooling",
    "BagState",
    "Bidirectional",
    "BlockState",
    "CrossAttention",
    "Decoder",
    "Dropout",
    "Embedding",
    "Encoder",
    "FeedForward",
    "GRUState",
    "GlobalAttention",
    "GramBag",
    "GramEmbedding",
    "GramState",
    "ImagePatches",
    "LSTMState",
    "Layer",
    "Linear",
    "MaxPooling",
    "MeanPooling",
    "MemoryState",
    "Norm",
    "PatchEmbedding",
    "Position",
    "PositionState",
    "RNNState",
    "Recurrent",
    "RecurrentDecoder",
    "Residual",
    "SelfAttention",
    "SelfAttentionState",
    "Stack",
    "Stateless",
    "TransformerBlock",
    "Window",
    "WindowState",
    "scaled_dot_product",
]
