"""BERT: the same hidden states and logits as transformers."""

import pytest
import torch

from tests.interop.hugging import perturbed, reread, right_padding, same, saved
from throughtime.errors import InputError
from throughtime.interop import load, load_bert, save_bert
from throughtime.models.bert import Bert

transformers = pytest.importorskip("transformers")

TOKENS, LENGTH, CLASSES = 29, 12, 5
SIZES = {
    "vocab_size": TOKENS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 24, "max_position_embeddings": LENGTH, "num_labels": CLASSES,
}  # fmt: skip
OPTIONS = {
    "BertModel": {},
    "BertForMaskedLM": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    "BertForPreTraining": {"hidden_act": "relu", "type_vocab_size": 3},
    "BertForNextSentencePrediction": {"hidden_act": "silu", "num_hidden_layers": 1},
    "BertForSequenceClassification": {"num_attention_heads": 1},
    "BertForTokenClassification": {"hidden_dropout_prob": 0.0},
}


def peer(kind="BertModel", **options):
    config = transformers.BertConfig(**{**SIZES, **options})
    return perturbed(getattr(transformers, kind), config)


def given(model):
    return model.state_dict(), model.config.to_dict()


def text(model, rows=3):
    """Ids, the types of tokens, and which are real."""
    x = torch.randint(TOKENS, (rows, LENGTH))
    types = torch.randint(model.config.type_vocab_size, x.shape)
    return x, types, right_padding(LENGTH, 7, 1)


def theirs(model, x, types, mask):
    return model(x, mask.long(), types, output_hidden_states=True)


def assert_same_answers(ours, model, x, types, mask):
    """All that both can say."""
    expected = theirs(model, x, types, mask)
    hidden, _ = ours(x, None, mask, types=types)
    same(hidden, expected.hidden_states[-1], mask)
    assert not hidden[~mask].any()
    compared = 0
    for name, answer in {
        "pooler_output": lambda: (ours.pooled(hidden, mask), None),
        "prediction_logits": lambda: (ours.token_logits(hidden), mask),
        "seq_relationship_logits": lambda: (ours.sentence_logits(hidden, mask), None),
        "logits": lambda: answer_of(ours, hidden, mask),
    }.items():
        if name in expected:
            found, places = answer()
            same(found, expected[name], places)
            compared += 1
    assert compared == {"BertForPreTraining": 2}.get(type(model).__name__, 1)


def answer_of(ours, hidden, mask):
    if ours.masked is not None:
        return ours.token_logits(hidden), mask
    if ours.sentences is not None:
        return ours.sentence_logits(hidden, mask), None
    return ours.answer(hidden, mask), mask if ours.tagging else None


@pytest.mark.parametrize("kind", OPTIONS)
@torch.no_grad()
def test_answers_are_those_of_transformers_and_so_are_they_back_again(kind, tmp_path):
    model = peer(kind, **OPTIONS[kind])
    ours = load_bert(saved(model, tmp_path / "theirs"))
    assert not ours.training
    x, types, mask = text(model)
    assert_same_answers(ours, model, x, types, mask)
    assert_same_answers(load_bert(*given(model)), model, x, types, mask)
    save_bert(ours, tmp_path / "ours")
    back = reread(type(model), tmp_path / "ours")
    assert back.config.architectures == [kind]
    for found, expected in zip(theirs(back, x, types, mask).to_tuple(),
                               theirs(model, x, types, mask).to_tuple(), strict=True):  # fmt: skip
        if isinstance(found, torch.Tensor):
            assert torch.equal(found, expected)


@torch.no_grad()
def test_a_head_with_a_matrix_of_its_own(tmp_path):
    model = peer("BertForMaskedLM", tie_word_embeddings=False)
    ours = load_bert(*given(model))
    x, types, mask = text(model)
    assert_same_answers(ours, model, x, types, mask)
    save_bert(ours, tmp_path)
    assert torch.equal(reread(type(model), tmp_path)(x).logits, model(x).logits)


@torch.no_grad()
def test_types_are_zero_if_not_given_and_padding_may_stand_anywhere():
    model = peer()
    ours = load_bert(*given(model))
    x, _, mask = text(model)
    expected, _ = ours(x, None, mask)
    same(expected, model(x, mask.long()).last_hidden_state, mask)
    left = mask.flip(1)
    moved = torch.zeros_like(x)
    moved[left] = x[mask]
    found, _ = ours(moved, None, left)
    torch.testing.assert_close(found[left], expected[mask])
    torch.testing.assert_close(ours.pooled(found, left), ours.pooled(expected, mask))


@torch.no_grad()
def test_two_texts_in_a_row_are_as_apart():
    ours = load_bert(*given(peer()))
    x = torch.randint(TOKENS, (1, 9))
    reset = torch.arange(9).unsqueeze(0) == 4
    both, _ = ours(x, None, None, reset)
    torch.testing.assert_close(both[:, :4], ours(x[:, :4])[0])
    torch.testing.assert_close(both[:, 4:], ours(x[:, 4:])[0])


def test_names_of_old_files():
    tensors, config = given(peer("BertForPreTraining"))
    new = load_bert(tensors, config)
    norm = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = {}
    for name, tensor in tensors.items():
        for modern, ancient in norm.items():
            name = name.replace(modern, ancient)
        old[name] = tensor
    old["bert.embeddings.position_ids"] = torch.arange(LENGTH).unsqueeze(0)
    config |= {"position_embedding_type": "absolute", "gradient_checkpointing": False}
    same_weights = load_bert(old, config).state_dict()
    for name, weight in new.state_dict().items():
        assert torch.equal(same_weights[name], weight), name
    old["bert.embeddings.position_ids"] = torch.arange(LENGTH).flip(0).unsqueeze(0)
    with pytest.raises(InputError, match="position_ids is not what"):
        load_bert(old, config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"is_decoder": True}, "is_decoder is True, expected False"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"hidden_act": "mish"}, "hidden_act is 'mish', expected one of"),
        ({"hidden_size": 17}, "size is 17, expected a multiple of heads"),
        ({"embedding_size": 8}, "does not know: embedding_size = 8"),
    ],
)
def test_what_it_cannot_do_it_refuses_by_name(options, message):
    tensors, config = given(peer())
    with pytest.raises(InputError, match=message):
        load_bert(tensors, config | options)


def test_heads_that_it_does_not_know_are_named_and_may_be_left_out():
    tensors, config = given(peer("BertForPreTraining"))
    more = tensors | {"qa_outputs.weight": torch.zeros(2, 16)}
    with pytest.raises(InputError, match=r"no place for: qa_outputs\.weight"):
        load_bert(more, config)
    ours = load_bert(more, config, without=["qa_outputs.", "cls."])
    assert ours.masked is None
    assert ours.pooler is not None
    hidden, _ = ours(torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(InputError, match="made without masked"):
        ours.token_logits(hidden)
    with pytest.raises(InputError, match="made without classes"):
        ours.answer(hidden)


def test_a_model_of_ours_leaves_with_names_of_its_classes(tmp_path):
    torch.manual_seed(0)
    ours = Bert(TOKENS, 16, 2, 1, pooler=True, classes=2, dropout=0.2).eval()
    save_bert(ours, tmp_path, {"id2label": {0: "no", 1: "yes"}, "pad_token_id": 7})
    back = reread(transformers.BertForSequenceClassification, tmp_path)
    assert back.config.id2label == {0: "no", 1: "yes"}
    assert (back.config.pad_token_id, back.config.hidden_dropout_prob) == (7, 0.2)
    x = torch.randint(TOKENS, (2, 6))
    with torch.no_grad():
        expected = ours.answer(ours(x)[0])
        same(10 * back(x).logits, 10 * expected)
        same(10 * load(tmp_path).answer(ours(x)[0]), 10 * expected)  # pyright: ignore
    with pytest.raises(InputError, match="activation is 'swiglu'"):
        save_bert(Bert(TOKENS, 16, 2, 1, activation="swiglu"), tmp_path)


# The model itself


def test_bert_says_what_is_wrong():
    model = Bert(TOKENS, 16, 2, 1, length=4)
    x = torch.zeros(2, 3, dtype=torch.long)
    for arguments, options, message in (
        ((x.float(),), {}, "x is torch.float32 of shape"),
        ((torch.zeros(2, 5, dtype=torch.long),), {}, "x has 5 steps, expected at most 4"),
        ((x,), {"types": x[:1]}, r"types has shape \[1, 3\], expected \[2, 3\]"),
        ((x,), {"types": x.bool()}, "types is torch.bool"),
        ((x, None, x), {}, "mask is torch.int64, expected torch.bool"),
        ((x, (x,)), {}, "got a state"),
    ):
        with pytest.raises(InputError, match=message):
            model(*arguments, **options)
    for options in ({"sentences": True}, {"classes": 3}):
        with pytest.raises(InputError, match="for a model with a pooler"):
            Bert(TOKENS, 16, 2, 1, **options)  # pyright: ignore


def test_bert_of_nothing_gives_nothing():
    model = Bert(TOKENS, 16, 2, 1, pooler=True, masked=True).eval()
    hidden, state = model(torch.zeros(2, 0, dtype=torch.long))
    assert (hidden.shape, state) == ((2, 0, 16), ())
    assert model.pooled(hidden).shape == (2, 16)
    assert model.token_logits(hidden).shape == (2, 0, TOKENS)
