"""The options of a Hugging Face config: each is used, known to change nothing, or refused."""

from collections.abc import Mapping
from typing import Any

from throughtime.errors import InputError

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""From the names of transformers to ours."""

WRITTEN = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
"""From ours to those of transformers."""

# What was written with the model, how it is trained or run, and what its classes are called.
_ABOUT = """
    _name_or_path _attn_implementation architectures attn_implementation auto_map dtype
    finetuning_task gradient_checkpointing id2label init_std initializer_factor initializer_range
    is_encoder_decoder label2id language model_type name_or_path num_labels output_attentions
    output_hidden_states output_past problem_type return_dict return_dict_in_generate
    summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj
    task_specific_params tokenizer_class torch_dtype torchscript transformers_version use_cache
    use_return_dict chunk_size_feed_forward
"""

# How texts are searched for: arguments of `generate` and `beam_search`, not of the model.
_GENERATION = """
    begin_suppress_tokens bos_token_id decoder_start_token_id diversity_penalty do_sample
    early_stopping encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty
    forced_bos_token_id forced_eos_token_id length_penalty max_length min_length
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores pad_token_id
    remove_invalid_values repetition_penalty sep_token_id suppress_tokens temperature top_k top_p
    typical_p
"""

# Dropout where our layers have none; it changes nothing outside of training.
_TRAINING = """
    activation_dropout attention_dropout attention_probs_dropout_prob attn_pdrop classif_dropout
    classifier_dropout
"""

PASSED_OVER = frozenset(f"{_ABOUT} {_GENERATION} {_TRAINING}".split())
"""Options that do not say what the model computes in evaluation mode."""


class Options:
    """Options by name, each to be asked for; what nobody asks for is refused in the end.

    Args:
        config: as config.json has it.
        kind: what errors begin with, such as `load_gpt2`.
        model_type: which the config must have, if it has one.
    """

    def __init__(self, config: Mapping[str, Any], kind: str, model_type: str) -> None:
        self.config = config
        self.kind = kind
        self._asked: set[str] = set()
        came = config.get("model_type", model_type)
        if came != model_type:
            raise self.refusal("model_type", model_type)

    def refusal(self, name: str, expected: object) -> InputError:
        """The error about an option."""
        came = self.config.get(name)
        return InputError(f"{self.kind}: option {name} is {came!r}, expected {expected}")

    def get(self, name: str, default: Any = None) -> Any:
        """An option; None counts as not given."""
        self._asked.add(name)
        value = self.config.get(name)
        return default if value is None else value

    def size(self, name: str, default: int) -> int:
        """A whole number above zero."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.refusal(name, "a whole number of at least 1")
        return value

    def number(self, name: str, default: float) -> float:
        """A number of at least zero."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise self.refusal(name, "a number of at least 0")
        return float(value)

    def share(self, name: str, default: float) -> float:
        """A probability in [0, 1)."""
        value = self.number(name, default)
        if value >= 1:
            raise self.refusal(name, "a probability in [0, 1)")
        return value

    def token(self, name: str, tokens: int, default: int | None = None) -> int | None:
        """An id of the vocabulary; None where there is none, as a config may say by another id."""
        self._asked.add(name)
        value = self.config.get(name, default)
        inside = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < tokens
        return value if inside else None

    def activation(self, name: str, default: str) -> str:
        """The activation of the feed-forward layers, by our name."""
        value = self.get(name, default)
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise self.refusal(name, f"one of {[*ACTIVATIONS]}")
        return ACTIVATIONS[value]

    def flag(self, name: str, *, default: bool) -> bool:
        """Yes or no."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self.refusal(name, "true or false")
        return value

    def only(self, name: str, allowed: Any) -> None:
        """Refuse any other value; an option that is not given is this."""
        if self.get(name, allowed) != allowed:
            raise self.refusal(name, f"{allowed!r}: throughtime has nothing else here")

    def off(self, *names: str) -> None:
        """Refuse options that are on."""
        for name in names:
            self.only(name, allowed=False)

    def finish(self) -> None:
        """Refuse options that nobody asked for, unless they are off or change nothing.

        Errors:
            InputError: it names them.
        """
        left = sorted(
            name
            for name, value in self.config.items()
            if name not in self._asked and name not in PASSED_OVER and not _is_off(value)
        )
        if left:
            words = ", ".join(f"{name} = {self.config[name]!r}" for name in left)
            raise InputError(f"{self.kind}: options that throughtime does not know: {words}")


def _is_off(value: object) -> bool:
    return value is None or value is False or value in ({}, [], "")


def written(config: Mapping[str, Any] | None, determined: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a config.json: what the model determines, and what else is to stand there."""
    return {**(config or {}), **determined}


def labels(config: Mapping[str, Any] | None, classes: int) -> dict[str, Any]:
    """Names of classes: those of a config, or LABEL_0 and so on where it has not as many."""
    names = (config or {}).get("id2label")
    if not isinstance(names, Mapping) or len(names) != classes:
        names = {str(index): f"LABEL_{index}" for index in range(classes)}
    return {"id2label": dict(names), "label2id": {name: int(id) for id, name in names.items()}}
