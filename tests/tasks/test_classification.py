import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from throughtime.data.augment import Augment
from throughtime.data.example_batches import ExampleBatch
from throughtime.data.examples import ExampleParts, Examples, split_examples
from throughtime.data.labels import Labels
from throughtime.data.text import UNKNOWN, Vocabulary
from throughtime.errors import InputError
from throughtime.inspect import record
from throughtime.layers import GRU, GramBag
from throughtime.models import Classifier, TokenInputs
from throughtime.models.building import make as make_any
from throughtime.models.config import ModelConfig
from throughtime.tasks.class_logits import Encoder, answers, logits, probabilities
from throughtime.tasks.class_loss import loss
from throughtime.tasks.classification import Classification
from throughtime.training import TrainingConfig, train


def make(config) -> Any:
    return make_any(config)


def labels_of(examples) -> Any:
    return examples.labels


def words(count=120, seed=0):
    """Texts that hold a `z` where they are of the class `buzz`."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for number in range(count):
        letters = random.choice(list("abcd"), random.integers(2, 9))
        if number % 2:
            letters[random.integers(len(letters))] = "z"
        texts.append("".join(letters))
        labels.append("buzz" if number % 2 else "calm")
    return Examples("texts", texts, labels, [str(number) for number in range(count)])


def series(count=60, label=None, seed=0):
    """Numbers around 1 or around -1."""
    random = np.random.default_rng(seed)
    values = [random.normal(1 - 2 * (n % 2), 1, (random.integers(3, 9), 2)) for n in range(count)]
    labels = [label(value, n) if label else "ud"[n % 2] for n, value in enumerate(values)]
    return Examples("series", values, labels, [str(n) for n in range(count)], ("p", "q"))


def task_of(examples, fractions=(0.6, 0.2, 0.2), **options):
    parts = split_examples(examples, fractions)
    vocabulary = None
    if examples.kind == "texts":
        vocabulary = Vocabulary.fit("".join(parts.training.values), unknown=UNKNOWN)
    return Classification(parts, Labels.fit(labels_of(parts.training)), vocabulary, **options)


def model_of(task, **fields):
    fields = {"width": 12, "kind": "gru", "around": True, "classes": len(task.labels), **fields}
    if task.kind == "texts":
        fields["tokens"] = len(task.vocabulary)
    elif task.kind == "series":
        fields["targets"] = len(task.parts.training.features)
    else:
        fields["image"] = task.parts.training.values.shape[1:]
    torch.manual_seed(0)
    model = make(ModelConfig(**fields))
    task.prepare(model)
    return model


def trained(task, model, epochs=15, **options):
    forward = partial(loss, several=task.labels.kind == "several", **options)
    config = TrainingConfig(epochs=epochs, learning_rate=0.01, checkpoint_seconds=None)
    train(model, task.source(8, 1, 0), forward, config, validate=lambda held: task.watch(held))
    return model.eval()


@pytest.mark.parametrize("around", [True, False])
def test_texts_are_learnt(around):
    task = task_of(words())
    model = trained(task, model_of(task, around=around, pooling="max"))
    found = task.metrics(model)
    assert found["accuracy"] >= 90
    assert found["nats"] < 0.4
    assert found["nats"] == pytest.approx(found["log_loss"], abs=1e-5)


@pytest.mark.parametrize("around", [True, False])
def test_what_answers_beside_a_body_is_learnt_with_it(around):
    task = task_of(words())
    fields = {"around": around, "bag": 3, "letters": 4, "scores": 500, "pooling": "max"}
    model = trained(task, model_of(task, **fields))
    values, targets = task.coded("test")
    right = (answers(model, values).argmax(-1) == torch.from_numpy(targets)).double().mean(1)
    assert right[0] >= 0.9
    assert right[1] >= 0.75
    assert right[2] < 0.75  # n-grams of three letters do not tell of one
    before = task.validate(model).nats
    task.calibrate(model)
    assert task.validate(model).nats < before
    assert float(model.shares.sum()) == pytest.approx(1)
    assert float(model.shares[2]) < 0.1
    assert task.metrics(model)["accuracy"] >= 90


def test_each_that_answers_has_a_loss_of_its_own_in_training_alone():
    task = task_of(words())
    model = model_of(task, bag=2, letters=3, scores=500)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_()
    batch = task.source(8, 1, 0).epoch(0)[0][0]

    def lost(found):
        p = found.softmax(-1)
        return -p[torch.arange(len(p)), batch.targets].log().sum()

    total, count, _ = loss(model.train(), batch, None)
    found = model.answers(batch.x, batch.mask)
    assert len(found) == 3
    torch.testing.assert_close(total, sum(lost(one) for one in found) / 3)
    assert float(count) == len(batch.targets)
    total, _, _ = loss(model.eval(), batch, None)
    torch.testing.assert_close(total, lost(model.answer(batch.x, batch.mask)))


@pytest.mark.parametrize("fields", [{}, {"bag": 2, "letters": 3}])
@pytest.mark.parametrize("training", [True, False])
def test_the_loss_lets_logits_be_watched(fields, training):
    task = task_of(words())
    model = model_of(task, **fields).train(training)
    batch = task.source(8, 1, 0).epoch(0)[0][0]
    with record(model, "logits") as found:
        loss(model, batch, None)
    seen = found["logits"]
    torch.testing.assert_close(seen, model.joined(model.answers(batch.x, batch.mask)))


def test_what_answers_beside_a_body_tells_several_classes():
    texts = words()
    labels = [tuple(letter for letter in "az" if letter in text) for text in texts.values]
    task = task_of(replace(texts, labels=labels))
    assert task.labels.kind == "several"
    model = trained(task, model_of(task, bag=3, scores=500, pooling="max"), epochs=25)
    task.calibrate(model)
    assert task.metrics(model)["f1"] >= 90
    assert float(model.shares.sum()) == pytest.approx(1)


def test_letters_that_somebody_gave_are_kept():
    task = task_of(words())
    assert task.vocabulary is not None
    tokens = len(task.vocabulary) + 1
    own = [[at + 5, at + 1] for at in range(tokens)]
    bag = GramBag(tokens, 2, letters=own, buckets=100)
    body = GRU(4, 4)
    model = Classifier(TokenInputs(tokens - 1, 4), body, 2, pooling="mean", beside=[bag])
    task.prepare(model)
    assert bag.letters[:, :2].tolist() == own
    few = Classifier(TokenInputs(tokens - 1, 4), body, 2, beside=[GramBag(tokens - 1, 2)])
    with pytest.raises(InputError, match=f"knows {tokens - 1} tokens, expected {tokens}"):
        task.prepare(few)


def test_letters_are_those_of_the_vocabulary():
    task = task_of(words())
    model = model_of(task, bag=2, letters=3)
    plain, spelled = model.beside
    assert not plain.spelled
    found = [[letter for letter in row if letter] for row in spelled.letters.tolist()]
    assert task.vocabulary is not None
    assert found == task.vocabulary.letters()


def test_series_are_learnt_and_scored_in_the_order_of_the_part():
    task = task_of(series())
    model = trained(task, model_of(task))
    assert task.metrics(model)["accuracy"] >= 90
    whole = task.logits(model)
    for row, value in enumerate(task.coded("test")[0]):
        alone = model.answer(torch.from_numpy(value)[None])[0]
        torch.testing.assert_close(whole[row], alone, rtol=0, atol=1e-5)


def test_several_classes_are_learnt():
    def label(value, _):
        return tuple(name for name, x in zip("pq", value.mean(0), strict=True) if x > 0)

    task = task_of(series(160, label))
    model = trained(task, model_of(task), epochs=40)
    found = task.metrics(model)
    assert task.labels.kind == "several"
    assert found["f1"] >= 85
    assert found["nats"] == pytest.approx(found["log_loss"], abs=1e-5)


def test_each_step_is_learnt():
    def label(value, number):
        return ["" if number == 0 else "ud"[int(x < 0)] for x in value[:, 0]]

    task = task_of(series(80, label))
    model = trained(task, model_of(task, pooling="none"), epochs=20)
    assert task.metrics(model)["accuracy"] >= 90
    found = task.logits(model)
    assert [len(each) for each in found] == [len(v) for v in task.parts.test.values]


def test_images_are_learnt_by_rows_and_by_patches():
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (120, 1, 4, 4)).astype(np.uint8)
    labels = ["up" if number % 2 else "down" for number in range(120)]
    images[1::2, :, :2] += 180
    images[::2, :, 2:] += 180
    names = [str(number) for number in range(120)]
    task = task_of(Examples("images", images, labels, names), augment=Augment(shift=1))
    for fields in ({"rows": True}, {"kind": "transformer", "width": 16, "heads": 2, "patch": 2,
                                    "position": "learned"}):  # fmt: skip
        model = trained(task, model_of(task, **fields), epochs=15)
        assert task.metrics(model)["accuracy"] >= 90
    assert task.early(model) is None


def test_early_answers_of_a_causal_model_are_those_of_beginnings():
    task = task_of(series())
    model = trained(task, model_of(task, around=False))
    found: Any = task.early(model)
    values, targets = task.coded("test")
    for share in (0.3, 1.0):
        seen = [value[: max(1, math.ceil(share * len(value) - 1e-9))] for value in values]
        right = logits(model, seen).argmax(-1).numpy() == targets
        assert found[share] == pytest.approx(100 * right.mean())
    around = model_of(task)
    seen_all: Any = task.early(around)
    assert seen_all[1.0] == pytest.approx(task.metrics(around)["accuracy"])


def test_calibration_lowers_the_loss_on_validation_and_changes_no_answer():
    examples = words(200)
    labels_of(examples)[:20] = [
        "calm",
        "buzz",
    ] * 10  # one in ten is a lie that nobody can be sure of
    labels_of(examples)[::20] = ["buzz"] * 10
    task = task_of(examples)
    model = trained(task, model_of(task, pooling="max"))
    with torch.no_grad():
        model.weight.mul_(5)
        model.bias.mul_(5)
    before, answers = task.validate(model).nats, task.logits(model).argmax(-1)
    temperature = task.calibrate(model)
    assert temperature > 1
    assert float(model.temperature) == pytest.approx(temperature)
    assert task.validate(model).nats <= before
    assert torch.equal(task.logits(model).argmax(-1), answers)


def test_the_loss_is_the_mean_of_the_formula():
    task = task_of(words())
    model = model_of(task)
    with torch.no_grad():
        model.weight.normal_()
    batch = task.source(8, 1, 0).epoch(0)[0][0]
    total, count, _ = loss(model.eval(), batch, None)
    p = model.answer(batch.x, batch.mask).softmax(-1)
    expected = -p[torch.arange(len(p)), batch.targets].log().sum()
    torch.testing.assert_close(total, expected)
    assert float(count) == len(p)
    w = torch.tensor([1.0, 3.0])
    total, count, _ = loss(model, batch, None, weights=w)
    expected = -(w[batch.targets] * p[torch.arange(len(p)), batch.targets].log()).sum()
    torch.testing.assert_close(total, expected)
    assert float(count) == float(w[batch.targets].sum())
    smoothed, _, _ = loss(model.train(), batch, None, smoothing=0.2)
    q = 0.8 * torch.nn.functional.one_hot(batch.targets, 2) + 0.1
    torch.testing.assert_close(smoothed, -(q * p.log()).sum())
    smoothed, count, _ = loss(model, batch, None, smoothing=0.2, weights=w)
    torch.testing.assert_close(smoothed, -(w[batch.targets, None] * q * p.log()).sum())
    assert float(count) == float(w[batch.targets].sum())
    one_hot = replace(batch, targets=torch.nn.functional.one_hot(batch.targets, 2).float())
    mixed = loss(model, one_hot, None, smoothing=0.2, weights=w)
    torch.testing.assert_close(mixed[0], smoothed)
    torch.testing.assert_close(mixed[1], count)


def test_mixed_targets_are_cross_entropy_with_shares():
    model = make(ModelConfig(kind="gru", width=8, classes=3, image=(1, 4, 4), rows=True))
    with torch.no_grad():
        model.weight.normal_()
    shares = torch.tensor([[0.3, 0.7, 0.0], [0.0, 0.5, 0.5]])
    x = torch.rand(2, 1, 4, 4)
    total, count, _ = loss(model, ExampleBatch(x, shares), None)
    torch.testing.assert_close(total, -(shares * model.answer(x).log_softmax(-1)).sum())
    assert float(count) == 2
    w = torch.tensor([1.0, 2.0, 4.0])
    total, count, _ = loss(model, ExampleBatch(x, shares), None, weights=w)
    torch.testing.assert_close(total, -(w * shares * model.answer(x).log_softmax(-1)).sum())
    assert float(count) == pytest.approx(float((w * shares).sum()))


def test_smoothing_does_not_make_a_rare_class_the_answer():
    """Weights of 100 to 1: shares that smoothing moves to the rare one must not count as much."""
    found = torch.zeros(100, 2, requires_grad=True)
    model = make(ModelConfig(kind="gru", width=4, classes=2, tokens=3))
    model.answer = lambda x, mask: found
    targets = torch.tensor([1] + [0] * 99)
    weights = torch.tensor([100 / 198, 50.0])
    batch = ExampleBatch(torch.zeros(100, 1, dtype=torch.long), targets)
    for _ in range(200):
        total, count, _ = loss(model, batch, None, smoothing=0.1, weights=weights)
        (slope,) = torch.autograd.grad(total / count, found)
        found.data -= 50 * slope
    assert found.argmax(1).tolist() == targets.tolist()


def test_weights_make_classes_count_alike():
    labels = ["rare" if number % 10 == 0 else "often" for number in range(100)]
    examples = Examples("texts", [f"t{n}" for n in range(100)], labels, ["x"] * 100)
    task = task_of(examples, weighted=True)
    counts = np.bincount(task.coded("training")[1])
    assert task.weights is not None
    weighted = task.weights.numpy() * counts
    assert weighted[0] == pytest.approx(weighted[1])
    assert weighted.sum() == pytest.approx(counts.sum())
    assert task_of(examples).weights is None


def test_empty_texts_are_left_out_of_training_and_answered_elsewhere():
    examples = words(40)
    examples.values[0] = examples.values[1] = ""
    parts = ExampleParts(examples, examples.take([0, 5]), examples.take([1, 6]))
    vocabulary = Vocabulary.fit("".join(examples.values), unknown=UNKNOWN)
    task = Classification(parts, Labels.fit(labels_of(examples)), vocabulary)
    assert task.empty == 2
    assert len(task.parts.training) == 38
    assert task.logits(model_of(task)).shape == (2, 2)
    assert task.coded("test")[0][0].tolist() == [vocabulary.begin]


def test_long_texts_are_cut_and_counted():
    examples = words(20)
    examples.values[3] = "a" * 50
    task = task_of(examples, longest=10)
    assert task.cut == 1
    coded = [value for part in ExampleParts._fields for value in task.coded(part)[0]]
    assert max(map(len, coded)) == 10


@pytest.mark.parametrize(
    ("make_task", "said"),
    [
        (lambda: task_of(words(), augment=Augment(flip=True)), "augment is for images"),
        (
            lambda: task_of(series(20, lambda value, n: ["a", "b"])),
            r"\d+ has \d steps and 2 labels, expected one of each",
        ),
        (
            lambda: task_of(series(20, lambda value, n: ("a",) * (n % 2)), weighted=True),
            "weights: examples have several classes",
        ),
    ],
)
def test_refused(make_task, said):
    with pytest.raises(InputError, match=said):
        make_task().coded("training")


def test_a_class_missing_from_training_is_refused():
    parts = split_examples(words())
    labels_of(parts.test)[0] = "loud"
    with pytest.raises(InputError, match="'loud' is missing from training, the test part has 1"):
        Classification(parts, Labels.fit(labels_of(parts.training)), Vocabulary.fit("abcdz"))


def test_models_of_other_data_are_refused():
    task, other = task_of(words()), task_of(series())
    with pytest.raises(InputError, match="the model knows 3 classes, the data have 2"):
        task.prepare(make(ModelConfig(tokens=7, classes=3)))
    with pytest.raises(InputError, match="the model knows 99 tokens"):
        task.prepare(make(ModelConfig(tokens=99, classes=2)))
    with pytest.raises(InputError, match="there are series, expected texts as in training"):
        task.encode(other.parts.test)
    with pytest.raises(InputError, match="part is 'tests'"):
        task.examples("tests")


@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_a_class_for_each_step_or_for_the_whole(pooling):
    steps = task_of(series(20, lambda value, n: ["a", "b"] + ["a"] * (len(value) - 2)))
    task, said = (series_task(), "'none', expected another one, for each example has a class")
    if pooling == "mean":
        task, said = steps, "'mean', expected none, for each step has a class"
    with pytest.raises(InputError, match=said):
        model_of(task, pooling=pooling)


def series_task():
    return task_of(series(20))


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_part_without_a_known_step_is_refused(part):
    examples = series(20, lambda value, n: ["ab"[n % 2]] * len(value))
    parts = split_examples(examples)
    for label in labels_of(getattr(parts, part)):
        label[:] = [""] * len(label)
    with pytest.raises(InputError, match=f"the {part} part has no step with a label"):
        Classification(parts, Labels(("a", "b"), "steps"))
    labels_of(getattr(parts, part))[0][0] = "a"
    Classification(parts, Labels(("a", "b"), "steps"))


def test_numbers_take_the_type_asked_for():
    encode = Encoder("series", dtype=torch.float64)
    assert encode(series(2))[0].dtype == np.float64
    some = series(2)
    some.values[1][0, 1] = 1e300
    assert encode(some)[1][0, 1] == 1e300
    with pytest.raises(InputError, match=r"example 1 has 1e\+300, which is beyond float32"):
        Encoder("series")(some)


def test_probabilities_sum_to_one_or_stand_alone():
    x = torch.randn(4, 3)
    np.testing.assert_allclose(probabilities(x).sum(1), 1)
    np.testing.assert_allclose(probabilities(x, "several"), x.double().sigmoid().numpy())
