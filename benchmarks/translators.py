"""One encoder-decoder through several libraries, with the same weights: what `translation` times.

The Transformer is a Marian model: norms after the sums, ReLU, sinusoidal positions, one set of
vectors for source, target and head, multiplied by the root of the width where they are read. The
recurrent model has an encoder in both directions and multiplicative attention. Each library is a
function of sources and a `Task` that gives a runner; a runner takes nothing and gives for each
source the ids that it wrote, the end counted.
"""

import importlib
import math
import tempfile
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.generators import installed
from throughtime.decoding import Compiled, ModelStepper, Sampling, beam_search, generate
from throughtime.decoding.compiled import stepper as fastest
from throughtime.decoding.translating import pad_ids
from throughtime.layers.position import sinusoidal
from throughtime.models import ModelConfig
from throughtime.models.building import build_encoder_decoder

PEERS = ("transformers", "ctranslate2")
END = 0
HORIZON = 128
"""Tokens that the decoder sees before its own; no output is longer."""

LONGEST = 512
"""Positions in the peers' tables."""


class Size(NamedTuple):
    """Of a model."""

    layers: int
    width: int
    heads: int
    hidden: int
    tokens: int


class Task(NamedTuple):
    """What is asked for.

    Attributes:
        beams: 1 takes the likeliest token, always.
        steps: tokens of an output, or with `ends` the most of them.
        ends: whether `END` ends an output; it is a token as any other if not.
        encoded: whether the sources are encoded before time is taken, so that it is the decoder's.
    """

    beams: int
    steps: int
    ends: bool = False
    encoded: bool = False


# Models


def transformer_of(size: Size) -> Any:
    """A model that writes different tokens, is as sure of them as a trained one, and comes to ends.

    As drawn, it would repeat the token that it read, whose vector is part of what the head is asked
    with. So the last norm changes the sign of half of the features, and widens all.
    """
    layers, width, heads, hidden, tokens = size
    model: Any = build_encoder_decoder(ModelConfig(
        "transformer", tokens=tokens, source_tokens=tokens, shared=True, tied=True, width=width,
        heads=heads, layers=layers, hidden=hidden, feed_forward="relu", norm_first=False,
        position="sinusoidal", horizon=HORIZON,
    ))  # fmt: skip
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.6 * weight.shape[1] ** -0.5)
        elif "bias" in name:
            nn.init.normal_(weight, std=0.1)
    nn.init.normal_(model.source.embedding.weight, std=width**-0.5)
    with torch.no_grad():
        model.decoder.body.layers[-1].feed_forward_norm.weight.copy_(5 * torch.randn(width).sign())
        # The largest of so many normal logits, and how near to it the end is on average.
        model.head.bias[END] = 0.7 * 5 * (2 * math.log(tokens)) ** 0.5
    return model.eval()


def recurrent_of(cell: str, size: Size) -> Any:
    """As the published models of pronunciation; wider weights, that it writes different tokens."""
    layers, width, _, _, tokens = size
    model: Any = build_encoder_decoder(ModelConfig(
        cell, tokens=tokens, source_tokens=tokens, width=width, layers=layers,
        attention="multiplicative",
    ))  # fmt: skip
    for weight in model.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=1.5 * weight.shape[1] ** -0.5)
    return model.eval()


def cut(row, ends):
    """Ids up to the first end, where there are ends."""
    row = [int(token) for token in row]
    return row[: row.index(END) + 1] if ends and END in row else row


# Ours


def ours(model, *, stepper=fastest):
    """`encode`, then `generate` or `beam_search`."""

    def made(sources, task):
        x, mask = pad_ids([np.array(source) for source in sources])
        real = None if bool(mask.all()) else mask
        stop = (END,) if task.ends else ()
        known = model.encode(x, real) if task.encoded else None

        @torch.inference_mode()
        def run():
            state = model.encode(x, real) if known is None else known
            begin = model.decoder.begin(len(x))
            if task.beams == 1:
                tokens = generate(
                    model.decoder, begin, task.steps, state=state, stop=stop,
                    sampling=Sampling(greedy=True), stepper=stepper,
                ).tokens  # fmt: skip
            else:
                tokens = searched(model, state, begin, task, stepper)
            return [cut(row, task.ends) for row in tokens.tolist()]

        return run

    return made


def compiled(model):
    """Ours, the decoder compiled once for all calls."""
    return ours(model, stepper=Compiled(model.decoder))


def plain(model):
    """Ours, layer by layer."""
    return ours(model, stepper=ModelStepper)


def translated(model):
    """Ours as `translate` calls it: `beam_search` at any width, by whatever stepper it takes."""

    def made(sources, task):
        x, mask = pad_ids([np.array(source) for source in sources])
        real = None if bool(mask.all()) else mask

        @torch.inference_mode()
        def run():
            state, begin = model.encode(x, real), model.decoder.begin(len(x))
            tokens = searched(model, state, begin, task, fastest)
            return [cut(row, task.ends) for row in tokens.tolist()]

        return run

    return made


def searched(model, state, begin, task, stepper):
    """The best output of each row; with a length penalty of 0 all libraries mean the same by it."""
    with warnings.catch_warnings():  # outputs may have no end
        warnings.filterwarnings("ignore", "beam_search: ", UserWarning)
        return beam_search(
            model.decoder, begin, task.steps, state=state, beams=task.beams, length_penalty=0.0,
            stop=(END,) if task.ends else (), stepper=stepper,
        ).tokens[:, 0]  # fmt: skip


# Peers of the Transformer


def positions(width):
    """Sines and cosines as we have them, in pairs; a table to the peers."""
    return sinusoidal(torch.arange(LONGEST), width, torch.float32)


def blocks_of(stack):
    """The blocks between positions and the last norm."""
    return [layer for layer in stack.layers if hasattr(layer, "feed_forward")]


def hugging_face(model):
    """MarianMTModel and its `generate`; `cache` is its `cache_implementation`."""
    transformers = importlib.import_module("transformers")
    table = model.source.embedding.weight
    encoder, decoder = blocks_of(model.encoder), blocks_of(model.decoder.body)
    heads, hidden = decoder[0].attention.heads, decoder[0].feed_forward.hidden_size
    begin = len(table) - 1
    peer: Any = transformers.MarianMTModel(transformers.MarianConfig(
        vocab_size=len(table), d_model=table.shape[1], max_position_embeddings=LONGEST,
        encoder_layers=len(encoder), decoder_layers=len(decoder), encoder_ffn_dim=hidden,
        decoder_ffn_dim=hidden, encoder_attention_heads=heads, decoder_attention_heads=heads,
        activation_function="relu", scale_embedding=True, decoder_start_token_id=begin,
        pad_token_id=begin, eos_token_id=END, forced_eos_token_id=None,
    )).eval()  # fmt: skip
    pairs = [(peer.model.shared.weight, table)]
    for side in (peer.model.encoder, peer.model.decoder):
        pairs.append((side.embed_positions.weight, positions(table.shape[1])))
    for theirs, block in zip(
        [*peer.model.encoder.layers, *peer.model.decoder.layers], [*encoder, *decoder], strict=True
    ):
        pairs += marian_block(theirs, block)
    with torch.no_grad():
        for to, value in pairs:
            to.copy_(value)
        # The beginning must never win.
        peer.final_logits_bias.copy_(torch.cat([model.head.bias, torch.tensor([-1e9])]))
    peer.generation_config.eos_token_id = None

    def made(sources, task, cache=None):
        ids, mask = pad_ids([np.array(source) for source in sources])
        ids = torch.where(mask, ids, begin)
        how = {"num_beams": task.beams, "do_sample": False, "max_new_tokens": task.steps}
        if task.beams > 1:
            how |= {"length_penalty": 0.0, "early_stopping": "never"}
        if task.ends:
            how["eos_token_id"] = END
        if cache is not None:
            how["cache_implementation"] = cache

        @torch.inference_mode()
        def run():
            found = peer.generate(ids, attention_mask=mask.long(), **how)
            return [cut(row, task.ends) for row in found[:, 1:].tolist()]

        return run

    return made


def marian_block(theirs, block):
    """Pairs of a weight of Marian and ours."""
    pairs = []

    def put(to, weight, bias):
        pairs.extend([(to.weight, weight), (to.bias, bias)])

    def split(to, names, weight, bias):
        parts = zip(names, weight.chunk(len(names)), bias.chunk(len(names)), strict=True)
        for name, *part in parts:
            put(getattr(to, name), *part)

    a, cross, f = block.attention, block.cross_attention, block.feed_forward
    split(theirs.self_attn, ("q_proj", "k_proj", "v_proj"), a.weight_input, a.bias_input)
    put(theirs.self_attn.out_proj, a.weight_output, a.bias_output)
    if cross is not None:
        put(theirs.encoder_attn.q_proj, cross.weight_query, cross.bias_query)
        split(theirs.encoder_attn, ("k_proj", "v_proj"), cross.weight_memory, cross.bias_memory)
        put(theirs.encoder_attn.out_proj, cross.weight_output, cross.bias_output)
        norm = block.cross_attention_norm
        put(theirs.encoder_attn_layer_norm, norm.weight, norm.bias)
    put(theirs.fc1, f.weight_input, f.bias_input)
    put(theirs.fc2, f.weight_output, f.bias_output)
    for to, norm in (
        (theirs.self_attn_layer_norm, block.attention_norm),
        (theirs.final_layer_norm, block.feed_forward_norm),
    ):
        put(to, norm.weight, norm.bias)
    return pairs


def ctranslate2(model, threads=1):
    """CTranslate2's `Translator`, from its own specification and our weights, in float32."""
    ct2 = importlib.import_module("ctranslate2")
    table = model.source.embedding.weight
    encoder, decoder = blocks_of(model.encoder), blocks_of(model.decoder.body)
    spec = ct2.specs.TransformerSpec.from_config(
        (len(encoder), len(decoder)), decoder[0].attention.heads, pre_norm=False,
        activation=ct2.specs.Activation.RELU,
    )  # fmt: skip

    def copied(tensor):
        return tensor.detach().numpy().copy()

    def put(to, weight, bias):
        to.weight, to.bias = copied(weight), copied(bias)

    def norm(to, of):
        to.gamma, to.beta = copied(of.weight), copied(of.bias)

    for side, embeddings in (
        (spec.encoder, spec.encoder.embeddings[0]),
        (spec.decoder, spec.decoder.embeddings),
    ):
        side.scale_embeddings = float(model.source.factor)
        embeddings.weight = copied(table)
        side.position_encodings.encodings = copied(positions(table.shape[1]))
    # The beginning must never win.
    put(spec.decoder.projection, table, torch.cat([model.head.bias, torch.tensor([-1e9])]))
    for to, block in zip(
        [*spec.encoder.layer, *spec.decoder.layer], [*encoder, *decoder], strict=True
    ):
        a, cross, f = block.attention, block.cross_attention, block.feed_forward
        put(to.self_attention.linear[0], a.weight_input, a.bias_input)
        put(to.self_attention.linear[1], a.weight_output, a.bias_output)
        norm(to.self_attention.layer_norm, block.attention_norm)
        if cross is not None:
            put(to.attention.linear[0], cross.weight_query, cross.bias_query)
            put(to.attention.linear[1], cross.weight_memory, cross.bias_memory)
            put(to.attention.linear[2], cross.weight_output, cross.bias_output)
            norm(to.attention.layer_norm, block.cross_attention_norm)
        put(to.ffn.linear_0, f.weight_input, f.bias_input)
        put(to.ffn.linear_1, f.weight_output, f.bias_output)
        norm(to.ffn.layer_norm, block.feed_forward_norm)
    begin, end = "<begin>", str(END)
    names = [*map(str, range(len(table) - 1)), begin]
    spec.register_source_vocabulary(names)
    spec.register_target_vocabulary(names)
    spec.config.bos_token = spec.config.unk_token = spec.config.decoder_start_token = begin
    spec.config.eos_token = begin
    with tempfile.TemporaryDirectory() as folder:
        spec.validate()
        spec.optimize(quantization="float32")
        spec.save(folder)
        peer = ct2.Translator(
            folder, compute_type="float32", inter_threads=1, intra_threads=threads
        )

    def made(sources, task):
        texts = [[str(token) for token in source] for source in sources]

        def run():
            found = peer.translate_batch(
                texts, beam_size=task.beams, length_penalty=0.0, max_decoding_length=task.steps,
                min_decoding_length=0,  # an output may end with its first token, as elsewhere
                end_token=end if task.ends else begin, return_end_token=True,
            )  # fmt: skip
            return [cut(one.hypotheses[0], task.ends) for one in found]

        return run

    return made


# The peer of the recurrent model


def libraries(model, threads=1):
    """The peers of the Transformer that are installed."""
    found = {}
    if installed("transformers"):
        found["transformers"] = hugging_face(model)
    if installed("ctranslate2"):
        found["CTranslate2"] = ctranslate2(model, threads)
    return found


# Where they differ


@torch.no_grad()
def gap(model, source, one, other, beams):
    """How much likelier one output is than another to the model, in nats.

    With one beam up to the first token that differs, for each next one depends on it.
    """
    if beams == 1:
        same = [a == b for a, b in zip(one, other, strict=False)]
        upto = same.index(False) + 1 if False in same else len(same)
        one, other = one[:upto], other[:upto]
    x = torch.tensor([source])
    first, second = (float(model.log_prob(x, torch.tensor([row])).sum()) for row in (one, other))
    return first - second
