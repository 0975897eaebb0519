"""Marian: weights with Hugging Face's names into a translating Transformer, and back."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.interop.files import Source, read_json, read_source, write_folder, write_json
from throughtime.interop.names import Link, Stream, Tensors, read_all, write_all
from throughtime.interop.options import WRITTEN, Options, written
from throughtime.interop.parts import blocks_of, dropout_of, refuse_unlike, sinusoidal_order
from throughtime.layers import Decoder, Encoder
from throughtime.layers.position import sinusoidal
from throughtime.models import Autoregressive, Categorical, EncoderDecoder, TokenInputs
from throughtime.shapes import Tensor

KIND = "load_marian"
SAVE = "save_marian"
GENERATION = "generation_config.json"


def load_marian(
    source: Source,
    config: Mapping[str, Any] | None = None,
    *,
    without: Collection[str] = (),
) -> EncoderDecoder:
    """A translating Transformer of Marian's shape, with its weights, in evaluation mode.

    Logits are those of `transformers.MarianMTModel`. The vector of the beginning is that of
    `decoder_start_token_id`, most often the token of padding. Tokens that `bad_words_ids` rules out
    (in config.json or generation_config.json; most often padding) get a logit of minus infinity, so
    that no search writes them; the others share what they would have had, as transformers has it
    with `renormalize_logits=True`. Other options of generation are arguments of
    [`beam_search`][throughtime.decoding.beam_search]: `stop=[eos]`, `beams`, `length_penalty`, and
    `steps`, which is `max_length - 1`. It looks for the best output as transformers does with
    `early_stopping="never"`, and an output that is cut has no `forced_eos_token_id`.

    The features of the stream are numbered otherwise than in the file, so that sines and cosines
    lie side by side, as in our positions. In training there is dropout of `dropout` on the input
    and on the sums, and none inside attention and feed-forward.

    Args:
        source: a folder with config.json and model.safetensors or pytorch_model.bin, or a state
            dict; with or without the prefix `model.`. Half precision becomes float32.
        config: the options beside a state dict, by the names of `transformers.MarianConfig`; what
            is not given has its default there.
        without: beginnings of names of tensors to leave out.

    Returns:
        An [`EncoderDecoder`][throughtime.models.EncoderDecoder].

    Errors:
        InputError: options or tensors that this model has no place for, by name: norms first,
            learned positions, layers that are dropped.

    Examples:
        >>> import tempfile
        >>> from throughtime.decoding import beam_search
        >>> from throughtime.models import ModelConfig, make
        >>> folder = tempfile.mkdtemp()
        >>> save_marian(make(ModelConfig("transformer", tokens=50, source_tokens=50, width=16,
        ...                              heads=2, shared=True, tied=True, norm_first=False,
        ...                              position="sinusoidal", feed_forward="relu")),
        ...             folder, {"pad_token_id": 49, "eos_token_id": 0})
        >>> model = load_marian(folder)
        >>> state, begin = model.encode(torch.tensor([[1, 2, 3, 0]])), model.decoder.begin(1)
        >>> found = beam_search(model.decoder, begin, 9, state=state, beams=2)
        >>> found.tokens.shape
        torch.Size([1, 1, 9])

    References:
        Junczys-Dowmunt et al. 2018, "Marian: fast neural machine translation in C++"; Tiedemann and
        Thottingal 2020, "OPUS-MT: building open translation services for the world".
    """
    given, named = read_source(source, config)
    if not isinstance(source, Mapping) and (Path(source) / GENERATION).is_file():
        apart = read_json(Path(source) / GENERATION).get("bad_words_ids")
        given["bad_words_ids"] = given.get("bad_words_ids") or apart
    options = Options(given, KIND, "marian")
    tensors = Tensors(named, KIND, prefix="model.", without=without)
    model = _build(options)
    ruled_out = _ruled_out(options, model.head.size)
    begin = _begin(options, model.head.size)
    length = options.size("max_position_embeddings", 1024)
    options.finish()
    _read(model, tensors, begin, length)
    tensors.finish()
    with torch.no_grad():
        _shift(model)[ruled_out] = -torch.inf
    return model.eval()


def save_marian(
    model: EncoderDecoder,
    folder: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
) -> None:
    """Write a model of Marian's shape so that `transformers.MarianMTModel` reads it.

    `max_position_embeddings` is the decoder's horizon and one, unless a larger number is given with
    `config`. The vector of the beginning takes the place of that of padding, which is what
    transformers begins with. Tokens whose shift is minus infinity go into generation_config.json as
    `bad_words_ids`, and have a shift of zero.

    Args:
        model: Transformers on both sides with sinusoidal positions, layer norms after the sums, as
            many heads of keys as of queries, and any activation but `swiglu`. That is what
            `ModelConfig("transformer", position="sinusoidal", norm_first=False)` describes.
        folder: for model.safetensors and config.json; made where it does not exist.
        config: options to be written beside those that the model determines: `pad_token_id`, and
            `eos_token_id`, which is 0 if not given.

    Errors:
        InputError: a model of another shape, and what is different; no `pad_token_id`.

    Examples:
        >>> import tempfile
        >>> from throughtime.models import ModelConfig, make
        >>> model = make(ModelConfig("transformer", tokens=50, source_tokens=40, width=16,
        ...                          position="sinusoidal", norm_first=False))
        >>> save_marian(model, tempfile.mkdtemp(), {"pad_token_id": 39, "eos_token_id": 0})
    """
    encoder, decoder = _check(model)
    size, tokens = model.source.output_size, model.head.size
    given = {"eos_token_id": 0, "forced_eos_token_id": None, **(config or {})}
    pad = given.get("pad_token_id")
    if not isinstance(pad, int) or not 0 <= pad < min(tokens, model.source.size):
        raise InputError(f"{SAVE}: pad_token_id is {pad!r}, expected an id of both vocabularies")
    asked = given.pop("max_position_embeddings", 0)
    reads, writes = blocks_of(encoder)[0], blocks_of(decoder)[0]
    shift = _shift(model).detach()
    tensors = write_all(_links(model), "model.") | _vectors(model, pad)
    tensors["final_logits_bias"] = torch.where(shift.isinf(), 0, shift).unsqueeze(0)
    determined = {
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "vocab_size": model.source.size,
        "decoder_vocab_size": tokens,
        "share_encoder_decoder_embeddings": _shared(model),
        "tie_word_embeddings": model.head.output is None,
        "scale_embedding": model.decoder.inputs.factor != 1,
        "d_model": size,
        "encoder_layers": len(blocks_of(encoder)),
        "decoder_layers": len(blocks_of(decoder)),
        "encoder_attention_heads": reads.attention.heads,
        "decoder_attention_heads": writes.attention.heads,
        "encoder_ffn_dim": reads.feed_forward.hidden_size,
        "decoder_ffn_dim": writes.feed_forward.hidden_size,
        "activation_function": WRITTEN[reads.feed_forward.activation],
        "max_position_embeddings": max(asked, writes.attention.horizon + 1),
        "decoder_start_token_id": pad,
        "dropout": dropout_of(encoder),
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
    }
    write_folder(folder, tensors, written(given, determined))
    never = [[int(token)] for token in shift.isinf().nonzero()]
    generation = {name: given[name] for name in ("eos_token_id", "forced_eos_token_id")}
    generation |= {"pad_token_id": pad, "decoder_start_token_id": pad}
    generation |= {"bad_words_ids": never} if never else {}
    write_json(Path(folder) / GENERATION, generation)


def _build(options: Options) -> EncoderDecoder:
    """The model that the options describe."""
    options.off("normalize_before", "add_final_layer_norm", "normalize_embedding")
    for name in ("encoder_layerdrop", "decoder_layerdrop", "extra_pos_embeddings"):
        options.only(name, 0)
    options.only("static_position_embeddings", allowed=True)
    options.get("add_bias_logits")  # transformers adds them always
    layers = options.size("encoder_layers", 12)
    options.only("num_hidden_layers", layers)
    size = options.size("d_model", 1024)
    if size % 2:
        raise options.refusal("d_model", "an even number")
    scaled = options.flag("scale_embedding", default=False)
    tied = options.flag("tie_word_embeddings", default=True)
    shared = options.flag("share_encoder_decoder_embeddings", default=True) and tied
    tokens = options.size("vocab_size", 58101)
    written = options.size("decoder_vocab_size", tokens)
    if shared:
        options.only("decoder_vocab_size", tokens)
    common: dict[str, Any] = {
        "position": "sinusoidal",
        "norm_first": False,
        "activation": options.activation("activation_function", "gelu"),
        "dropout": options.share("dropout", 0.1),
    }
    encoder = Encoder(
        size, options.size("encoder_attention_heads", 16), layers,
        hidden_size=options.size("encoder_ffn_dim", 4096), **common,
    )  # fmt: skip
    decoder = Decoder(
        size, options.size("decoder_attention_heads", 16), options.size("decoder_layers", 12),
        hidden_size=options.size("decoder_ffn_dim", 4096), memory_size=size,
        horizon=max(options.size("max_position_embeddings", 1024) - 1, 1), **common,
    )  # fmt: skip
    target = TokenInputs(written, size, tied=tied, scaled=scaled)
    source = target if shared else TokenInputs(tokens, size, scaled=scaled)
    head = Categorical(size, written, tied=tied)
    return EncoderDecoder(source, encoder, Autoregressive(target, decoder, head))


def _ruled_out(options: Options, tokens: int) -> list[int]:
    """Tokens that are never to be written."""
    words = options.get("bad_words_ids", [])
    single = isinstance(words, list) and all(
        isinstance(word, list) and len(word) == 1 and type(word[0]) is int and 0 <= word[0] < tokens
        for word in words
    )
    if not single:
        raise options.refusal("bad_words_ids", "lists of one id of the vocabulary each")
    return [word[0] for word in words]


def _begin(options: Options, tokens: int) -> int:
    """The token that the decoder begins with."""
    begin = options.token("decoder_start_token_id", tokens, 58100)
    if begin is None:
        raise options.refusal("decoder_start_token_id", f"an id below {tokens}")
    return begin


@torch.no_grad()
def _read(model: Any, tensors: Tensors, begin: int, length: int) -> None:
    """All weights; positions that files hold are checked and done with."""
    source, target, head = model.source, model.decoder.inputs, model.head
    size = source.output_size
    order = torch.tensor(sinusoidal_order(size))
    shared = source is target

    def fill(inputs: TokenInputs, side: str) -> Tensor:
        own = f"{side}.embed_tokens.weight"
        vectors = tensors.take("shared.weight" if shared else own, (inputs.size, size))
        tensors.same(own, vectors)
        first = vectors[begin : begin + 1] if inputs is target else torch.zeros(1, size)
        inputs.embedding.weight.copy_(torch.cat([vectors, first])[:, order])
        return vectors

    if not shared and "shared.weight" in tensors:  # transformers computes without it
        tensors.take("shared.weight", (source.size, size))
    fill(source, "encoder")
    vectors = fill(target, "decoder")
    if head.output is None:
        tensors.same("lm_head.weight", vectors)
    else:
        head.output.weight.copy_(tensors.take("lm_head.weight", (head.size, size))[:, order])
    _shift(model).copy_(tensors.take("final_logits_bias", (1, head.size))[0])
    read_all(_links(model), tensors)
    waves = sinusoidal(torch.arange(length), size, torch.float32)[:, order.argsort()]
    for side in ("encoder", "decoder"):  # half precision is good to a thousandth
        tensors.same(f"{side}.embed_positions.weight", waves, 1e-3)


def _links(model: Any) -> list[Link]:
    """All weights but the vectors of tokens and the head, by their names without a prefix."""
    stream = Stream(torch.tensor(sinusoidal_order(model.source.output_size)))
    links: list[Link] = []
    for side, body in (("encoder", model.encoder), ("decoder", model.decoder.body)):
        for index, block in enumerate(blocks_of(body)):
            at = f"{side}.layers.{index}"
            inputs = [f"{at}.self_attn.{part}_proj" for part in ("q", "k", "v")]
            links += stream.attention(block.attention, inputs, f"{at}.self_attn.out_proj")
            links += stream.norm(block.attention_norm, f"{at}.self_attn_layer_norm")
            if block.cross_attention is not None and block.cross_attention_norm is not None:
                links += stream.cross_attention(block.cross_attention, f"{at}.encoder_attn")
                links += stream.norm(block.cross_attention_norm, f"{at}.encoder_attn_layer_norm")
            links += stream.feed_forward(block.feed_forward, f"{at}.fc1", f"{at}.fc2")
            links += stream.norm(block.feed_forward_norm, f"{at}.final_layer_norm")
    return links


def _vectors(model: Any, pad: int) -> dict[str, Tensor]:
    """The vectors of tokens, and the head's matrix if it has one of its own."""
    back = torch.tensor(sinusoidal_order(model.source.output_size)).argsort()

    source, target = model.source, model.decoder.inputs

    def of(inputs: TokenInputs) -> Tensor:  # both are read at the scale of the target
        vectors = inputs.embedding.weight.detach()[: inputs.size, back]
        return vectors * (inputs.factor / target.factor)

    written = of(target)
    written[pad] = target.embedding.weight.detach()[target.size, back]
    if _shared(model):
        return {"model.shared.weight": written}
    found = {"encoder": of(source), "decoder": written}
    tensors = {f"model.{side}.embed_tokens.weight": found[side] for side in found}
    if model.head.output is not None:
        tensors["lm_head.weight"] = model.head.output.weight.detach()[:, back]
    return tensors


def _shared(model: Any) -> bool:
    """Whether one set of vectors is used three times; transformers knows all or nothing."""
    return model.source is model.decoder.inputs and model.head.output is None


def _shift(model: Any) -> Tensor:
    """What is added to the logits."""
    return model.head.bias if model.head.output is None else model.head.output.bias


def _check(model: Any) -> tuple[Encoder, Decoder]:
    """Both bodies of a model that Marian can be."""
    if not isinstance(model, EncoderDecoder):
        raise InputError(f"{SAVE}: got a {type(model).__name__}, expected an EncoderDecoder")
    source, target = model.source, model.decoder.inputs
    encoder: Any = model.encoder
    decoder: Any = model.decoder.body
    for name, body, kind in (("encoder", encoder, Encoder), ("decoder", decoder, Decoder)):
        if not isinstance(body, kind):
            raise InputError(f"{SAVE}: the {name} is a {type(body).__name__}, no {kind.__name__}")
        refuse_unlike(
            SAVE, body, norm_first=False, position="sinusoidal", memory=name == "decoder"
        )  # fmt: skip
        if any(block.attention_norm.epsilon != 1e-5 for block in blocks_of(body)):
            raise InputError(f"{SAVE}: norm_epsilon of the {name} is not 1e-5, as Marian's is")
    assert isinstance(target, TokenInputs)
    if source.grams or target.grams:
        raise InputError(f"{SAVE}: vectors are of n-grams, expected plain ones")
    if source.output_size != target.output_size:
        raise InputError(f"{SAVE}: vectors of source and target differ in size")
    activations = {blocks_of(body)[0].feed_forward.activation for body in (encoder, decoder)}
    if len(activations) > 1:
        raise InputError(f"{SAVE}: activations are {sorted(activations)}, expected one")
    if not isinstance(model.head, Categorical):
        raise InputError(f"{SAVE}: the head is a {type(model.head).__name__}, expected Categorical")
    return encoder, decoder
