import numpy as np
import pytest
import torch

from throughtime.data.augment import Augment
from throughtime.data.example_batches import ExampleBatches
from throughtime.errors import InputError


def ids(lengths):
    return [np.full(length, number) for number, length in enumerate(lengths)]


def rows_of(source, number):
    """The number of each row, in the order of an epoch."""
    return [int(row) for (batch,) in source.epoch(number) for row in batch.targets]


def source(lengths=tuple(range(1, 41)), **options):
    return ExampleBatches(ids(lengths), np.arange(len(lengths)), **{"rows": 4, **options})


def test_every_row_once_and_whole_in_each_epoch():
    batches = source()
    for number in range(3):
        assert sorted(rows_of(batches, number)) == list(range(40))
    for (batch,) in batches.epoch(1):
        assert batch.mask is not None
        for x, real, target in zip(batch.x, batch.mask, batch.targets, strict=True):
            assert x[real].tolist() == [int(target)] * (int(target) + 1)
            assert not x[~real].any()


def test_order_depends_on_seed_and_epoch_alone():
    assert rows_of(source(), 0) == rows_of(source(), 0)
    assert rows_of(source(), 0) != rows_of(source(), 1)
    assert rows_of(source(), 0) != rows_of(source(seed=1), 0)
    one = source(shuffle=False)
    assert rows_of(one, 0) == rows_of(one, 5) == list(range(40))


def test_like_lengths_lie_together():
    random = np.random.default_rng(0)
    lengths = random.integers(1, 200, 2000)
    batches = source(lengths, rows=16)
    assert batches.padding < 0.1
    padded = sum(batch.shape[0] * batch.shape[1] for (batch,) in batches.epoch(0))
    assert batches.padding == pytest.approx(1 - lengths.sum() / padded)


def test_no_mask_where_nothing_is_padded():
    [(batch,)] = source((3, 3), rows=2).epoch(0)
    assert batch.mask is None
    assert batch.steps == 6


def test_numbers_are_padded_by_nan_and_steps_by_unknown():
    values = [np.ones((length, 2), np.float32) for length in (1, 3)]
    targets = [np.array([4]), np.array([1, -1, 2])]
    [(batch,)] = ExampleBatches(values, targets, rows=2, shuffle=False).epoch(0)
    assert batch.x.isnan().any(-1).tolist() == [[False, True, True], [False] * 3]
    assert batch.targets.tolist() == [[4, -1, -1], [1, -1, 2]]
    assert batch.steps == 4


def test_moving_changes_the_type_of_numbers_alone():
    values = [np.ones((1, 2), np.float32)]
    [(batch,)] = ExampleBatches(values, np.array([1])).epoch(0)
    moved = batch.to("cpu", torch.float64)
    assert (moved.x.dtype, moved.targets.dtype) == (torch.float64, torch.int64)
    images = np.zeros((1, 1, 2, 2), np.uint8)
    [(batch,)] = ExampleBatches(images, np.array([1])).epoch(0)
    assert batch.to("cpu", torch.float64).x.dtype == torch.uint8


def test_examples_are_not_cut():
    [(batch,)] = source((3, 3), rows=2).epoch(0)
    assert batch.narrow(0, 3) is batch
    with pytest.raises(InputError, match="examples are not cut in time"):
        batch.narrow(0, 2)


def pictures(augment, **options):
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8)).astype(np.uint8)
    return ExampleBatches(images, np.arange(12) % 3, rows=6, augment=augment, classes=3, **options)


def test_images_are_altered_anew_in_each_epoch_but_the_same_when_asked_again():
    batches = pictures(Augment(shift=2, flip=True, cutout=3))
    first, again = batches.epoch(0)[1][0], batches.epoch(0)[1][0]
    assert torch.equal(first.x, again.x)
    later = batches.epoch(1)
    seen = torch.cat([later[index][0].x for index in range(2)])
    assert not any(torch.equal(first.x[0], image) for image in seen)


def test_mixed_images_have_shares_of_classes():
    [(batch,), _] = pictures(Augment(mixup=0.4)).epoch(0)
    assert batch.targets.shape == (6, 3)
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(6))
    assert ((batch.targets > 0) & (batch.targets < 1)).any()
    assert batch.x.is_floating_point()


@pytest.mark.parametrize(
    ("values", "targets", "said"),
    [
        ([], [], "values are empty"),
        (ids((1, 0)), [0, 1], "row 1 has no steps"),
        (ids((1, 2)), [0], "2 values and 1 targets"),
    ],
)
def test_refused(values, targets, said):
    with pytest.raises(InputError, match=said):
        ExampleBatches(values, targets)
