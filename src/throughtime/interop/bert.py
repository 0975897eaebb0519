"""BERT: weights with Hugging Face's names into our encoder of texts, and back."""

import os
from collections.abc import Collection, Mapping
from typing import Any

import torch

from throughtime.interop.files import Source, read_source, write_folder
from throughtime.interop.names import Link, Stream, Tensors, linear, read_all, write_all
from throughtime.interop.options import WRITTEN, Options, labels, written
from throughtime.interop.parts import blocks_of, dropout_of, refuse_unlike
from throughtime.models.bert import Bert
from throughtime.shapes import Tensor

KIND = "load_bert"
SAVE = "save_bert"
HEAD = "cls.predictions"


def load_bert(
    source: Source,
    config: Mapping[str, Any] | None = None,
    *,
    without: Collection[str] = (),
) -> Bert:
    """An encoder of texts of BERT's shape, with its weights, in evaluation mode.

    Hidden states are those of `transformers.BertModel`; the heads are those that the file has:
    the pooler, masked tokens and the next sentence (`BertForPreTraining`), classes of texts
    (`BertForSequenceClassification`) or of steps (`BertForTokenClassification`). The attention mask
    of transformers is `mask`, as truth values; where it is False our outputs are zero. With padding
    at the left, positions count from the first real step, where transformers counts padding, too.

    In training there is dropout of `hidden_dropout_prob`, and none on the weights of attention.

    Args:
        source: a folder with config.json and model.safetensors or pytorch_model.bin, or a state
            dict; with or without the prefix `bert.`. Half precision becomes float32.
        config: the options beside a state dict, by the names of `transformers.BertConfig`; what is
            not given has its default there.
        without: beginnings of names of tensors to leave out, such as `cls.`.

    Returns:
        A [`Bert`][throughtime.models.bert.Bert].

    Errors:
        InputError: options or tensors that this model has no place for, by name.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save_bert(Bert(50, 16, heads=2, layers=2, pooler=True), folder)
        >>> model = load_bert(folder)
        >>> hidden, _ = model(torch.tensor([[1, 2, 3]]))
        >>> model.pooled(hidden).shape
        torch.Size([1, 16])

    References:
        Devlin et al. 2019, "BERT: pre-training of deep bidirectional Transformers for language
        understanding".
    """
    given, named = read_source(source, config)
    options = Options(given, KIND, "bert")
    tensors = Tensors(named, KIND, prefix="bert.", without=without)
    model = _build(options, named, tensors)
    options.finish()
    read_all(_links(model), tensors)
    places = torch.arange(model.length)
    tensors.same("embeddings.position_ids", places.unsqueeze(0))
    if model.masked is not None and model.masked.weight is None:
        tensors.same(f"{HEAD}.decoder.weight", model.embedding.weight)
        tensors.same(f"{HEAD}.decoder.bias", model.masked.bias)
    elif model.masked is not None:  # transformers keeps another shift, and computes without it
        tensors.take(f"{HEAD}.bias", model.masked.bias.shape)
    tensors.finish()
    return model.eval()


def save_bert(
    model: Bert, folder: str | os.PathLike[str], config: Mapping[str, Any] | None = None
) -> None:
    """Write a model so that transformers reads it: `BertModel`, or the class that has its heads.

    `architectures` in config.json says which class that is: `BertForPreTraining` where there are
    heads of masked tokens and sentences, `BertForMaskedLM` or `BertForNextSentencePrediction` where
    there is one, `BertForSequenceClassification` or `BertForTokenClassification` with classes.

    Args:
        model: what [`load_bert`][throughtime.interop.load_bert] gives, or made anew.
        folder: for model.safetensors and config.json; made where it does not exist.
        config: options to be written beside those that the model determines, such as `id2label`.

    Errors:
        InputError: a model that has an activation, or blocks, that BERT has not.

    Examples:
        >>> import tempfile
        >>> save_bert(Bert(50, 16, heads=2, layers=2, masked=True), tempfile.mkdtemp())
    """
    refuse_unlike(SAVE, model.encoder, norm_first=False, position="none", memory=False)
    first = blocks_of(model.encoder)[0]
    architecture = _architecture(model)
    tensors = write_all(_links(model))
    if model.masked is not None:
        tensors[f"{HEAD}.bias"] = model.masked.bias
    if architecture != "BertModel":
        tensors = {_prefixed(name): tensor for name, tensor in tensors.items()}
    dropout = dropout_of(model.encoder)
    determined = {
        "model_type": "bert",
        "architectures": [architecture],
        "vocab_size": model.embedding.tokens,
        "hidden_size": model.output_size,
        "num_hidden_layers": len(blocks_of(model.encoder)),
        "num_attention_heads": first.attention.heads,
        "intermediate_size": first.feed_forward.hidden_size,
        "hidden_act": WRITTEN[first.feed_forward.activation],
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": model.length,
        "type_vocab_size": model.types.tokens,
        "layer_norm_eps": model.norm.epsilon,
        "tie_word_embeddings": model.masked is None or model.masked.weight is None,
    }
    if model.classes is not None:
        determined |= labels(config, model.classes.output_size or 0)
    write_folder(folder, tensors, written(config, determined))


def _build(options: Options, named: Mapping[str, Tensor], tensors: Tensors) -> Bert:
    """The model that the options and the tensors describe."""
    options.off("is_decoder", "add_cross_attention")
    options.only("position_embedding_type", "absolute")
    pooler, classes = "pooler.dense.weight" in tensors, "classifier.weight" in tensors
    architectures = options.get("architectures", [])
    return Bert(
        options.size("vocab_size", 30522),
        options.size("hidden_size", 768),
        options.size("num_attention_heads", 12),
        options.size("num_hidden_layers", 12),
        types=options.size("type_vocab_size", 2),
        length=options.size("max_position_embeddings", 512),
        hidden_size=options.size("intermediate_size", 3072),
        activation=options.activation("hidden_act", "gelu"),
        norm_epsilon=options.number("layer_norm_eps", 1e-12),
        dropout=options.share("hidden_dropout_prob", 0.1),
        pooler=pooler,
        masked=f"{HEAD}.bias" in tensors,
        tied=options.flag("tie_word_embeddings", default=True),
        sentences="cls.seq_relationship.weight" in tensors,
        classes=len(named["classifier.weight"]) if classes else 0,
        tagging=not pooler or "BertForTokenClassification" in architectures,
    )


def _links(model: Bert) -> list[Link]:
    """All weights, by their names without a prefix."""
    stream, at = Stream(), "embeddings"
    assert model.position.weight is not None
    links = [
        Link(model.embedding.weight, (f"{at}.word_embeddings.weight",)),
        Link(model.types.weight, (f"{at}.token_type_embeddings.weight",)),
        Link(model.position.weight, (f"{at}.position_embeddings.weight",)),
        *stream.norm(model.norm, f"{at}.LayerNorm"),
    ]
    for index, block in enumerate(blocks_of(model.encoder)):
        at = f"encoder.layer.{index}"
        inputs = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        links += stream.attention(block.attention, inputs, f"{at}.attention.output.dense")
        links += stream.norm(block.attention_norm, f"{at}.attention.output.LayerNorm")
        links += stream.feed_forward(
            block.feed_forward, f"{at}.intermediate.dense", f"{at}.output.dense"
        )
        links += stream.norm(block.feed_forward_norm, f"{at}.output.LayerNorm")
    if model.pooler is not None:
        links += linear(model.pooler, "pooler.dense")
    if model.masked is not None:
        links += linear(model.masked.layer, f"{HEAD}.transform.dense")
        links += stream.norm(model.masked.norm, f"{HEAD}.transform.LayerNorm")
        if model.masked.weight is None:
            links.append(Link(model.masked.bias, (f"{HEAD}.bias",)))
        else:
            links += stream.matrix(model.masked.weight, model.masked.bias, f"{HEAD}.decoder")
    if model.sentences is not None:
        links += linear(model.sentences, "cls.seq_relationship")
    if model.classes is not None:
        links += linear(model.classes, "classifier")
    return links


def _architecture(model: Bert) -> str:
    """The class of transformers that has the heads of a model."""
    if model.classes is not None:
        return f"BertFor{'Token' if model.tagging else 'Sequence'}Classification"
    if model.masked is not None:
        return "BertForMaskedLM" if model.sentences is None else "BertForPreTraining"
    return "BertModel" if model.sentences is None else "BertForNextSentencePrediction"


def _prefixed(name: str) -> str:
    """The name of a tensor in a model with heads."""
    return name if name.startswith(("cls.", "classifier.")) else f"bert.{name}"
