"""ViT: weights with Hugging Face's names into our vision Transformer, and back."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.interop.files import Source, read_source, write_folder, write_json
from throughtime.interop.names import Link, Stream, Tensors, read_all, write_all
from throughtime.interop.options import WRITTEN, Options, labels, written
from throughtime.interop.parts import blocks_of, dropout_of, refuse_unlike
from throughtime.layers import Encoder, Norm
from throughtime.models import Classifier, VisionTransformer
from throughtime.models.image_inputs import ImageInputs
from throughtime.shapes import Tensor

KIND = "load_vit"
SAVE = "save_vit"


def load_vit(
    source: Source,
    config: Mapping[str, Any] | None = None,
    *,
    classes: int | None = None,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    without: Collection[str] = (),
) -> VisionTransformer:
    """A classifier of images of ViT's shape, with its weights, in evaluation mode.

    `model.answer(x)` are the logits of `transformers.ViTForImageClassification`. With the defaults
    of `mean` and `std`, x are its `pixel_values`, which a processor has brought to a common scale.
    With the mean and deviation of that processor, most often 0.5 and 0.5, the model does it itself:
    then images go in as uint8 or as floating-point numbers up to 1, of any size that patches fill.
    Positions are interpolated for other sizes than `image_size`, as transformers does it with
    `interpolate_pos_encoding=True`. Resizing is nobody's task here.

    Args:
        source: a folder with config.json and model.safetensors or pytorch_model.bin, or a state
            dict; with or without the prefix `vit.`. Half precision becomes float32.
        config: the options beside a state dict, by the names of `transformers.ViTConfig`; what is
            not given has its default there.
        classes: makes a new classifier that starts at zero, for a file without one.
        mean: of the images, as a share of full brightness; for all channels or for each.
        std: likewise their deviation.
        without: beginnings of names of tensors to leave out, such as `pooler.`, which no classifier
            has.

    Returns:
        A [`VisionTransformer`][throughtime.models.VisionTransformer].

    Errors:
        InputError: options or tensors that this model has no place for, by name; no classifier in
            the file and no `classes`, or both.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save_vit(VisionTransformer((8, 8), 4, 16, heads=2, layers=2, classes=10, channels=3),
        ...          folder)
        >>> model = load_vit(folder, mean=0.5, std=0.5)
        >>> model.answer(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 10])

    References:
        Dosovitskiy et al. 2021, "An image is worth 16x16 words: Transformers for image recognition
        at scale".
    """
    given, named = read_source(source, config)
    options = Options(given, KIND, "vit")
    tensors = Tensors(
        {_as_on_disk(name): tensor for name, tensor in named.items()},
        KIND,
        prefix="vit.",
        without=without,
    )
    has = "classifier.weight" in tensors
    if has is (classes is not None):
        came = f"the file has a classifier and classes is {classes}" if has else "there is none"
        raise InputError(f"{KIND}: {came}, expected classifier.weight in the file or classes=N")
    model = _build(options, len(named["classifier.weight"]) if classes is None else classes)
    options.finish()
    _read(model, tensors)
    if has:
        read_all(Stream().matrix(model.weight, model.bias, "classifier"), tensors)
    tensors.finish()
    with torch.no_grad():
        model.inputs.location.copy_(_of_channels("mean", mean, len(model.inputs.location)))
        model.inputs.scale.copy_(_of_channels("std", std, len(model.inputs.scale)))
    return model.eval()


def save_vit(
    model: Classifier, folder: str | os.PathLike[str], config: Mapping[str, Any] | None = None
) -> None:
    """Write a classifier of images so that `transformers.ViTForImageClassification` reads it.

    The mean and deviation of the images go into preprocessor_config.json, which makes
    `pixel_values`; the temperature, if one was fitted, into the last matrix.

    Args:
        model: a [`VisionTransformer`][throughtime.models.VisionTransformer] with learned positions,
            norms first and the class of a token.
        folder: for model.safetensors and config.json; made where it does not exist.
        config: options to be written beside those that the model determines, such as `id2label`.

    Errors:
        InputError: a model of another shape, and what is different.

    Examples:
        >>> import tempfile
        >>> save_vit(VisionTransformer((8, 8), 4, 16, heads=2, layers=2, classes=10),
        ...          tempfile.mkdtemp())
    """
    inputs, body = _check(model)
    patches, first = inputs.patches, blocks_of(body)[0]
    tensors = {f"vit.{name}": tensor for name, tensor in write_all(_links(model)).items()}
    assert model.token is not None
    assert patches.position_weight is not None
    size = patches.output_size
    places = patches.position_weight.detach().reshape(1, -1, size)
    tensors["vit.embeddings.cls_token"] = model.token.view(1, 1, size)
    # The token has its place within itself.
    tensors["vit.embeddings.position_embeddings"] = torch.cat(
        [places.new_zeros(1, 1, size), places], 1
    )
    tensors["classifier.weight"] = model.weight / model.temperature
    tensors["classifier.bias"] = model.bias / model.temperature
    dropout = dropout_of(body)
    determined = {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        "hidden_size": size,
        "num_hidden_layers": len(blocks_of(body)),
        "num_attention_heads": first.attention.heads,
        "intermediate_size": first.feed_forward.hidden_size,
        "hidden_act": WRITTEN[first.feed_forward.activation],
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": first.attention_norm.epsilon,
        "image_size": _side(patches.image),
        "patch_size": _side(patches.patch),
        "num_channels": patches.channels,
        "qkv_bias": True,
        **labels(config, model.classes),
    }
    write_folder(folder, tensors, written(config, determined))
    height, width = patches.image
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": inputs.location.tolist(),
        "image_std": inputs.scale.tolist(),
    }
    write_json(Path(folder) / "preprocessor_config.json", processor)


def _build(options: Options, classes: int) -> VisionTransformer:
    """The model that the options describe."""
    options.get("encoder_stride")  # of another head
    options.get("pooler_act")
    options.get("pooler_output_size")
    dropout = options.share("hidden_dropout_prob", 0.0)
    size, heads = options.size("hidden_size", 768), options.size("num_attention_heads", 12)
    options.only("head_dim", size // heads)
    model = VisionTransformer(
        _sides(options, "image_size", 224),
        _sides(options, "patch_size", 16),
        size,
        heads,
        options.size("num_hidden_layers", 12),
        classes,
        channels=options.size("num_channels", 3),
        hidden_size=options.size("intermediate_size", 3072),
        activation=options.activation("hidden_act", "gelu"),
        norm_epsilon=options.number("layer_norm_eps", 1e-12),
        dropout=dropout,
    )
    model.dropout.p = 0.0  # ViT has none before its classes
    if not options.flag("qkv_bias", default=True):
        for block in blocks_of(model.body):
            block.attention.bias_input = None
    return model


@torch.no_grad()
def _read(model: VisionTransformer, tensors: Tensors) -> None:
    """All weights but those of the classes."""
    patches = model.inputs.patches
    rows, columns = patches.grid
    size = patches.output_size
    read_all(_links(model), tensors)
    for block in blocks_of(model.body):
        if block.attention.bias_input is None:  # zeros are the same, and can be trained
            block.attention.bias_input = torch.nn.Parameter(torch.zeros(3 * size))
    places = tensors.take("embeddings.position_embeddings", (1, rows * columns + 1, size))[0]
    patches.position_weight.copy_(places[1:].view(rows, columns, size))
    assert model.token is not None
    model.token.copy_(tensors.take("embeddings.cls_token", (1, 1, size)).view(-1) + places[0])


def _links(model: Classifier) -> list[Link]:
    """All weights but the token, positions and classes, by their names without a prefix."""
    stream, patches = Stream(), model.inputs.patches
    at = "embeddings.patch_embeddings.projection"
    shape = (patches.output_size, patches.channels, *patches.patch)
    links = [
        Link(patches.weight, (f"{at}.weight",), shape=shape),
        Link(patches.bias, (f"{at}.bias",)),
    ]
    for index, block in enumerate(blocks_of(model.body)):
        at = f"encoder.layer.{index}"
        inputs = [f"{at}.attention.attention.{part}" for part in ("query", "key", "value")]
        links += stream.norm(block.attention_norm, f"{at}.layernorm_before")
        links += stream.attention(block.attention, inputs, f"{at}.attention.output.dense")
        links += stream.norm(block.feed_forward_norm, f"{at}.layernorm_after")
        links += stream.feed_forward(
            block.feed_forward, f"{at}.intermediate.dense", f"{at}.output.dense"
        )
    return [*links, *stream.norm(model.body.layers[-1], "layernorm")]


_NEW_NAMES = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
"""Names of tensors of a module in transformers 5, and those in files."""


def _as_on_disk(name: str) -> str:
    """The name in a file of what may be a name in a module."""
    prefix = "vit." if name.startswith("vit.") else ""
    layer = name.removeprefix(prefix)
    if not layer.startswith("layers."):
        return name
    _, index, rest = layer.split(".", 2)
    part, _, last = rest.rpartition(".")
    return f"{prefix}encoder.layer.{index}.{_NEW_NAMES.get(part, part)}.{last}"


def _check(model: Any) -> tuple[ImageInputs, Encoder]:
    """The input layer and the body of a model that ViT can be."""
    if not isinstance(model, Classifier) or not isinstance(model.inputs, ImageInputs):
        raise InputError(f"{SAVE}: got a {type(model).__name__}, expected a classifier of images")
    patches, body = model.inputs.patches, model.body
    if patches.position != "learned" or patches.weight is None:
        raise InputError(f"{SAVE}: position is {patches.position!r}, expected 'learned'")
    if model.token is None:
        raise InputError(f"{SAVE}: pooling is {model.pool!r}, expected 'token'")
    if not isinstance(body, Encoder) or not isinstance(body.layers[-1], Norm):
        raise InputError(f"{SAVE}: the body is a {type(body).__name__}, expected an Encoder")
    refuse_unlike(SAVE, body, norm_first=True, position="none", memory=False)
    return model.inputs, body


def _sides(options: Options, name: str, default: int) -> tuple[int, int]:
    """Height and width, which one number may say."""
    value = options.get(name, default)
    sides = [value, value] if isinstance(value, int) else value
    whole = isinstance(sides, list | tuple) and all(type(side) is int for side in sides)
    if not whole or len(sides) != 2 or min(sides) < 1:
        raise options.refusal(name, "a whole number of at least 1, or two")
    return sides[0], sides[1]


def _side(sides: tuple[int, int]) -> int | list[int]:
    return sides[0] if sides[0] == sides[1] else list(sides)


def _of_channels(name: str, value: float | Sequence[float], channels: int) -> Tensor:
    """A number for each channel; images are divided by `std`."""
    above = ", above 0" if name == "std" else ""
    refusal = InputError(f"{KIND}: {name} is {value!r}, expected a number or {channels}{above}")
    try:
        numbers = torch.as_tensor(value, dtype=torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError):
        raise refusal from None
    fits = numbers.ndim < 2 and numbers.numel() in (1, channels)
    if not fits or not bool(numbers.isfinite().all()) or (above and not bool((numbers > 0).all())):
        raise refusal
    return numbers.expand(channels)
