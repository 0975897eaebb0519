"""GPT-2: weights with Hugging Face's names into an autoregressive Transformer, and back."""

import os
from collections.abc import Collection, Mapping
from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.interop.files import Source, read_source, write_folder
from throughtime.interop.names import Link, Stream, Tensors, read_all, write_all
from throughtime.interop.options import WRITTEN, Options, written
from throughtime.interop.parts import blocks_of, dropout_of, position_of, refuse_unlike
from throughtime.layers import Decoder, Norm
from throughtime.models import Autoregressive, Categorical, TokenInputs
from throughtime.shapes import Tensor

KIND = "load_gpt2"
SAVE = "save_gpt2"


def load_gpt2(
    source: Source,
    config: Mapping[str, Any] | None = None,
    *,
    without: Collection[str] = (),
) -> Autoregressive:
    r"""A language model of GPT-2's shape, with its weights, in evaluation mode.

    Logits are those of `transformers.GPT2LMHeadModel`. The body is a
    [`Decoder`][throughtime.layers.Decoder] with learned positions and norms first; its horizon is
    `n_positions - 1`, so a step sees as far as GPT-2 does, and a longer text goes on with a window
    that slides, where GPT-2 ends. The vector of the beginning is that of `bos_token_id`, or zeros
    where there is none: [`generate`][throughtime.decoding.generate] puts it before a prompt.
    `state=model.initial_state(rows)` begins with the prompt itself, as transformers does.

    In training there is dropout of `resid_pdrop` on the input and on the sums, and none on the
    weights of attention (`attn_pdrop`).

    Args:
        source: a folder with config.json and model.safetensors or pytorch_model.bin, or a state
            dict; with or without the prefix `transformer.`. Half precision becomes float32.
        config: the options beside a state dict, by the names of `transformers.GPT2Config`; what is
            not given has its default there.
        without: beginnings of names of tensors to leave out.

    Returns:
        An [`Autoregressive`][throughtime.models.Autoregressive] model.

    Errors:
        InputError: options or tensors that this model has no place for, by name: another
            activation, cross-attention, `scale_attn_by_inverse_layer_idx`, a classifier.

    Examples:
        >>> import tempfile
        >>> from throughtime.decoding import Sampling, generate
        >>> from throughtime.models import ModelConfig, build
        >>> folder = tempfile.mkdtemp()
        >>> save_gpt2(build(ModelConfig("transformer", tokens=50, width=16, heads=2, tied=True,
        ...                             position="learned")), folder)
        >>> model = load_gpt2(folder)
        >>> found = generate(model, torch.tensor([[1, 2, 3]]), 5, sampling=Sampling(greedy=True))
        >>> found.tokens.shape
        torch.Size([1, 5])

    References:
        Radford et al. 2019, "Language models are unsupervised multitask learners".
    """
    given, named = read_source(source, config)
    options = Options(given, KIND, "gpt2")
    tensors = Tensors(named, KIND, prefix="transformer.", without=without)
    model = _build(options)
    options.finish()
    _read(model, tensors, options)
    tensors.finish()
    return model.eval()


def save_gpt2(
    model: Autoregressive,
    folder: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
) -> None:
    """Write a model of GPT-2's shape so that `transformers.GPT2LMHeadModel` reads it.

    `n_positions` is the horizon and one: within so many tokens both compute the same. Three things
    have no place in the files: the vector of the beginning, where it is not that of
    `bos_token_id`; a shift in the head, which is therefore refused; and training's settings other
    than dropout.

    Args:
        model: tokens in and out; a `Decoder` with learned positions, layer norms first, as many
            heads of keys as of queries, and any activation but `swiglu`. That is what
            `ModelConfig("transformer", position="learned")` describes.
        folder: for model.safetensors and config.json; made where it does not exist.
        config: options to be written beside those that the model determines, such as
            `eos_token_id`.

    Errors:
        InputError: a model of another shape, and what is different.

    Examples:
        >>> import tempfile
        >>> from throughtime.models import ModelConfig, build
        >>> model = build(ModelConfig("transformer", tokens=50, width=16, position="learned"))
        >>> save_gpt2(model, tempfile.mkdtemp(), {"bos_token_id": 0, "eos_token_id": 0})
    """
    inputs, body, head = _check(model)
    first, last, position = blocks_of(body)[0], body.layers[-1], position_of(body)
    assert isinstance(last, Norm)
    assert position is not None
    assert position.weight is not None
    length = min(position.length, first.attention.horizon + 1)
    tensors = write_all(_links(model), "transformer.")
    tensors["transformer.wte.weight"] = inputs.embedding.weight[: head.size]
    tensors["transformer.wpe.weight"] = position.weight[:length]
    if head.output is not None:
        tensors["lm_head.weight"] = head.output.weight
    dropout = dropout_of(body)
    determined = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": head.size,
        "n_positions": length,
        "n_embd": inputs.output_size,
        "n_layer": len(blocks_of(body)),
        "n_head": first.attention.heads,
        "n_inner": first.feed_forward.hidden_size,
        "activation_function": WRITTEN[first.feed_forward.activation],
        "layer_norm_epsilon": last.epsilon,
        "tie_word_embeddings": head.output is None,
        "resid_pdrop": dropout,
        "embd_pdrop": dropout,
        "attn_pdrop": 0.0,
    }
    tokens = {"bos_token_id": None, "eos_token_id": None}
    write_folder(folder, tensors, written({**tokens, **(config or {})}, determined))


def _build(options: Options) -> Autoregressive:
    """The model that the options describe."""
    options.only("scale_attn_weights", allowed=True)
    options.off("scale_attn_by_inverse_layer_idx", "add_cross_attention", "is_decoder")
    options.get("reorder_and_upcast_attn")  # another order of the same arithmetic
    tokens, size = options.size("vocab_size", 50257), options.size("n_embd", 768)
    length = options.size("n_positions", 1024)
    options.only("n_ctx", length)
    tied = options.flag("tie_word_embeddings", default=True)
    dropout = options.share("resid_pdrop", 0.1)
    options.only("embd_pdrop", dropout)
    body = Decoder(
        size,
        options.size("n_head", 12),
        options.size("n_layer", 12),
        position="learned",
        horizon=max(length - 1, 1),
        length=length,
        hidden_size=options.size("n_inner", 4 * size),
        activation=options.activation("activation_function", "gelu_new"),
        norm_epsilon=options.number("layer_norm_epsilon", 1e-5),
        dropout=dropout,
    )
    return Autoregressive(
        TokenInputs(tokens, size, tied=tied), body, Categorical(size, tokens, tied=tied)
    )


@torch.no_grad()
def _read(model: Any, tensors: Tensors, options: Options) -> None:
    """All weights; masks that old files hold are checked and done with."""
    tokens, size = model.head.size, model.inputs.output_size
    position: Any = model.body.layers[0]
    vectors = tensors.take("wte.weight", (tokens, size))
    begin = options.token("bos_token_id", tokens, 50256)
    beginning = torch.zeros(1, size) if begin is None else vectors[begin : begin + 1]
    model.inputs.embedding.weight.copy_(torch.cat([vectors, beginning]))
    position.weight.copy_(tensors.take("wpe.weight", (position.length, size)))
    read_all(_links(model), tensors)
    if model.head.output is None:
        tensors.same("lm_head.weight", vectors)
    else:
        model.head.output.weight.copy_(tensors.take("lm_head.weight", (tokens, size)))
    seen = torch.ones(1, 1, position.length, position.length).tril()
    for layer in range(len(blocks_of(model.body))):
        tensors.same(f"h.{layer}.attn.bias", seen)
        tensors.same(f"h.{layer}.attn.masked_bias", torch.tensor(-1e4))


def _links(model: Any) -> list[Link]:
    """All weights but the vectors of tokens and positions."""
    stream = Stream(transposed=True)
    links: list[Link] = []
    for index, block in enumerate(blocks_of(model.body)):
        at = f"h.{index}"
        links += stream.norm(block.attention_norm, f"{at}.ln_1")
        links += stream.attention(block.attention, [f"{at}.attn.c_attn"], f"{at}.attn.c_proj")
        links += stream.norm(block.feed_forward_norm, f"{at}.ln_2")
        links += stream.feed_forward(block.feed_forward, f"{at}.mlp.c_fc", f"{at}.mlp.c_proj")
    return [*links, *stream.norm(model.body.layers[-1], "ln_f")]


def _check(model: Any) -> tuple[TokenInputs, Decoder, Categorical]:
    """The parts of a model that GPT-2 can be."""
    if not isinstance(model, Autoregressive):
        raise InputError(f"{SAVE}: got a {type(model).__name__}, expected an Autoregressive model")
    head, inputs, body = model.head, model.inputs, model.body
    if not isinstance(inputs, TokenInputs) or not isinstance(head, Categorical):
        raise InputError(f"{SAVE}: the model is one of numbers, expected one of tokens")
    if not isinstance(body, Decoder):
        raise InputError(f"{SAVE}: the body is a {type(body).__name__}, expected a Decoder")
    if inputs.grams or inputs.factor != 1:
        raise InputError(f"{SAVE}: vectors are scaled or of n-grams, expected plain ones")
    if head.output is None and head.bias is None:
        raise InputError(f"{SAVE}: the head has no output layer, expected one")
    shift: Tensor | None = head.bias if head.output is None else head.output.bias
    if shift is not None and bool(shift.any()):
        raise InputError(f"{SAVE}: the head has a shift that is not zero, and GPT-2 has none")
    refuse_unlike(SAVE, body, norm_first=True, position="learned", memory=False)
    return inputs, body, head
