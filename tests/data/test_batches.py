import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.data.arrays import Lazily
from throughtime.data.batches import (
    BATCHES_PER_BUCKET,
    Batch,
    RaggedBatches,
    Record,
    Source,
    Windows,
    mask_from_lengths,
)
from throughtime.errors import InputError

NAN = float("nan")


def ids_of(lengths):
    """Records whose ids are all different, so that a step tells where it comes from."""
    ends = np.cumsum(lengths)
    return [Record(np.arange(end - length, end)) for length, end in zip(lengths, ends, strict=True)]


def rows_of(windows):
    """The rows of a `Windows`: its windows side by side, padding cut off."""
    batches = [windows[index] for index in range(len(windows))]
    targets = torch.cat([batch.targets for batch in batches], dim=1)
    inputs = torch.cat([batch.inputs for batch in batches], dim=1)
    masks = [
        torch.ones(batch.shape, dtype=torch.bool) if batch.mask is None else batch.mask
        for batch in batches
    ]
    mask = torch.cat(masks, dim=1)
    return [(row[real], into[real]) for row, into, real in zip(targets, inputs, mask, strict=True)]


class TestBatch:
    def batch(self, **parts):
        inputs = torch.arange(10).reshape(2, 5)
        return Batch(**{"inputs": inputs, "targets": inputs + 1, **parts})

    def test_shape_and_steps(self):
        assert self.batch().shape == (2, 5)
        assert self.batch().steps == 10
        assert self.batch(mask=mask_from_lengths([2, 5])).steps == 7

    def test_narrow_takes_the_same_steps_of_every_part(self):
        mask, reset = mask_from_lengths([2, 5]), mask_from_lengths([1, 1], time=5)
        covariates = torch.randn(2, 5, 3)
        part = self.batch(mask=mask, reset=reset, covariates=covariates).narrow(1, 3)
        assert part.shape == (2, 2)
        assert part.inputs.tolist() == [[1, 2], [6, 7]]
        assert part.targets.tolist() == [[2, 3], [7, 8]]
        assert part.mask is not None
        assert part.mask.tolist() == [[True, False], [True, True]]
        assert part.reset is not None
        assert not part.reset.any()
        assert part.covariates is not None
        assert torch.equal(part.covariates, covariates[:, 1:3])

    def test_narrow_may_be_empty(self):
        assert self.batch().narrow(5, 5).shape == (2, 0)

    @pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 6), (3, 2)])
    def test_narrow_refuses_steps_outside(self, start, stop):
        with pytest.raises(InputError, match="do not lie within 0 to 5"):
            self.batch().narrow(start, stop)

    def test_to_changes_the_type_of_numbers_only(self):
        batch = self.batch(mask=mask_from_lengths([2, 5]), covariates=torch.randn(2, 5, 3))
        moved = batch.to("cpu", torch.float64)
        assert moved.inputs.dtype == moved.targets.dtype == torch.int64
        assert moved.mask is not None
        assert moved.mask.dtype == torch.bool
        assert moved.covariates is not None
        assert moved.covariates.dtype == torch.float64
        numbers = Batch(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)).to(dtype=torch.float64)
        assert numbers.inputs.dtype == numbers.targets.dtype == torch.float64

    def test_refuses_parts_of_other_shapes(self):
        with pytest.raises(InputError, match=r"mask has shape \[2, 4\]"):
            self.batch(mask=mask_from_lengths([2, 4]))
        with pytest.raises(InputError, match=r"targets has shape \[3, 5\]"):
            self.batch(targets=torch.zeros(3, 5))
        with pytest.raises(InputError, match=r"inputs have shape \[5\]"):
            self.batch(inputs=torch.zeros(5))

    @pytest.mark.parametrize("marks", [torch.ones(2, 5), torch.ones(2, 5, 1, dtype=torch.bool)])
    def test_refuses_marks_that_are_not_one_truth_value_per_step(self, marks):
        with pytest.raises(
            InputError, match=r"reset is torch.* expected torch.bool \[batch, time\]"
        ):
            self.batch(reset=marks)


class TestMaskFromLengths:
    @settings(deadline=None)
    @given(st.lists(st.integers(0, 9), max_size=5), st.integers(0, 3))
    def test_first_steps_are_real(self, lengths, more):
        time = max(lengths, default=0) + more
        mask = mask_from_lengths(lengths, time)
        assert mask.shape == (len(lengths), time)
        assert mask.sum(1).tolist() == lengths
        assert all(mask[row, :length].all() for row, length in enumerate(lengths))

    def test_as_wide_as_the_longest(self):
        assert mask_from_lengths(torch.tensor([2, 0, 4])).shape == (3, 4)
        assert mask_from_lengths([]).shape == (0, 0)

    @pytest.mark.parametrize(("lengths", "time"), [([3, -1], None), ([3, 1], 2)])
    def test_refuses(self, lengths, time):
        with pytest.raises(InputError, match="lengths run from"):
            mask_from_lengths(lengths, time)


class TestLazily:
    def test_is_a_sequence(self):
        made = []
        items = Lazily(5, lambda index: made.append(index) or index * 10)
        assert len(items) == 5
        assert items[1] == 10
        assert items[-1] == 40
        assert made == [1, 4]
        assert list(items) == [0, 10, 20, 30, 40]
        assert items[::2] == [0, 20, 40]
        for outside in (5, -6):
            with pytest.raises(IndexError):
                items[outside]


lengths_of_records = st.lists(st.integers(1, 12), min_size=1, max_size=40)


class TestRaggedBatches:
    def test_is_a_source_of_windows(self):
        source = RaggedBatches(ids_of([3, 4]), 2, begin=7)
        assert isinstance(source, Source)
        assert isinstance(source.epoch(0)[0], Windows)

    @settings(deadline=None)
    @given(
        lengths_of_records,
        st.integers(1, 5),
        st.one_of(st.none(), st.integers(1, 15)),
        st.integers(0, 3),
        st.booleans(),
    )
    def test_every_step_is_a_target_once(self, lengths, batch_size, window, epoch, shuffle):
        records, begin = ids_of(lengths), sum(lengths)
        source = RaggedBatches(records, batch_size, window, begin=begin, shuffle=shuffle)
        seen = []
        for windows in source.epoch(epoch):
            for targets, inputs in rows_of(windows):
                assert inputs.tolist() == [begin, *targets[:-1].tolist()]
                seen.append(targets.tolist())
        assert sorted(seen) == [record.values.tolist() for record in records]

    @settings(deadline=None)
    @given(lengths_of_records, st.integers(1, 5), st.integers(1, 15), st.integers(0, 3))
    def test_windows(self, lengths, batch_size, window, epoch):
        source = RaggedBatches(ids_of(lengths), batch_size, window, begin=sum(lengths))
        for windows in source.epoch(epoch):
            batches = [windows[index] for index in range(len(windows))]
            assert all(batch.shape[1] == min(window, batches[0].shape[1]) for batch in batches[:-1])
            assert 1 <= batches[-1].shape[1] <= window
            # Only the first window begins anything; and a mask is there where it says something.
            assert batches[0].reset is not None
            assert batches[0].reset[:, 0].all()
            assert not batches[0].reset[:, 1:].any()
            assert all(batch.reset is None for batch in batches[1:])
            assert all(batch.mask is None or not batch.mask.all() for batch in batches)
            for index in reversed(range(len(windows))):
                assert torch.equal(windows[index].targets, batches[index].targets)
                assert torch.equal(windows[index].inputs, batches[index].inputs)

    @settings(deadline=None)
    @given(lengths_of_records, st.integers(1, 5), st.integers(0, 3))
    def test_padding_report_counts_what_the_batches_hold(self, lengths, batch_size, epoch):
        source = RaggedBatches(ids_of(lengths), batch_size, 4, begin=sum(lengths))
        batches = [batch for windows in source.epoch(epoch) for batch in windows]
        real = sum(batch.steps for batch in batches)
        laid_out = sum(batch.shape[0] * batch.shape[1] for batch in batches)
        report = source.padding_report(epoch)
        assert (report.steps, report.padded_steps) == (real, laid_out - real)
        assert report.share == pytest.approx(1 - real / laid_out)
        assert (report.shortest, report.longest) == (min(lengths), max(lengths))
        assert (report.rows, report.batches) == (len(lengths), len(source.epoch(epoch)))
        assert report.buckets == -(-len(lengths) // (BATCHES_PER_BUCKET * batch_size))

    def test_padding_report_reads_well(self):
        report = RaggedBatches(ids_of([2, 4]), 2, begin=6).padding_report()
        assert str(report) == (
            "2 sequences of 2 to 4 steps (6 in all) in 1 batches from 1 length buckets; "
            "25.0% of the steps are padding"
        )

    def test_buckets_keep_padding_low(self):
        lengths = np.random.default_rng(0).integers(10, 500, 1000).tolist()
        bucketed = RaggedBatches(ids_of(lengths), 10, begin=10**6).padding_report().share
        order = np.random.default_rng(1).permutation(lengths).reshape(-1, 10)
        mixed = 1 - order.sum() / (10 * order.max(axis=1).sum())
        assert bucketed < 0.2 * mixed

    def test_order_depends_on_seed_and_epoch_alone(self):
        def order(seed, epoch):
            source = RaggedBatches(ids_of([3] * 20), 4, begin=60, seed=seed)
            return [windows[0].targets.tolist() for windows in source.epoch(epoch)]

        assert order(0, 1) == order(0, 1)
        assert len({str(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4

    def test_shuffles_within_buckets_and_among_them(self):
        source = RaggedBatches(ids_of(list(range(1, 41))), 2, begin=820)
        first, second = (
            [[len(row) for row, _ in rows_of(windows)] for windows in source.epoch(epoch)]
            for epoch in (0, 1)
        )
        bucket = 2 * BATCHES_PER_BUCKET
        for order in (first, second):  # no batch mixes buckets
            assert all((a - 1) // bucket == (b - 1) // bucket for a, b in order)
        buckets = [(lengths[0] - 1) // bucket for lengths in first]
        assert buckets != sorted(buckets)
        assert sorted(map(sorted, first)) != sorted(map(sorted, second))

    def test_unshuffled_is_the_same_every_epoch(self):
        source = RaggedBatches(ids_of([5, 2, 4]), 2, begin=11, shuffle=False)
        epochs = [[windows[0].targets.tolist() for windows in source.epoch(n)] for n in (0, 7)]
        assert epochs[0] == epochs[1]
        assert epochs[0][0] == [[5, 6, 0, 0], [7, 8, 9, 10]]

    def test_numbers_begin_with_nan_and_keep_what_is_missing(self):
        source = RaggedBatches(
            [
                Record(
                    np.array([[1.0, 10.0], [NAN, 20.0], [3.0, 30.0]]), np.array([[7], [8], [9]])
                ),
                Record(np.array([[5, 50]]), np.array([[6]])),
            ],
            batch_size=2,
            shuffle=False,
        )
        [batch] = source.epoch(0)[0]
        assert batch.inputs.dtype == batch.targets.dtype == torch.float32
        expected = torch.tensor([[[1.0, 10.0], [NAN, 20.0], [3.0, 30.0]]])
        torch.testing.assert_close(batch.targets[1:], expected, equal_nan=True)
        expected = torch.tensor([[[NAN, NAN], [1.0, 10.0], [NAN, 20.0]]])
        torch.testing.assert_close(batch.inputs[1:], expected, equal_nan=True)
        assert batch.mask is not None
        assert batch.mask.tolist() == [[True, False, False], [True, True, True]]
        assert (
            batch.targets[0, 1:].isnan().all()
        )  # padding is missing, also where a mask is ignored
        assert batch.covariates is not None
        assert batch.covariates.tolist() == [[[6.0], [0.0], [0.0]], [[7.0], [8.0], [9.0]]]

    def test_one_number_per_step_is_one_feature(self):
        source = RaggedBatches([Record(np.array([1.0, 2.0]))], 1, dtype=torch.float64)
        batch = source.epoch(0)[0][0]
        assert batch.targets.shape == (1, 2, 1)
        assert batch.targets.dtype == torch.float64

    def test_sequence_of_one_step(self):
        batch = RaggedBatches([Record(np.array([4]))], 8, 16, begin=5).epoch(0)[0][0]
        assert (batch.inputs.tolist(), batch.targets.tolist()) == ([[5]], [[4]])
        assert batch.mask is None

    def test_loads_a_batch_at_a_time(self):
        asked = []

        class Loading(list):
            def __getitem__(self, index):
                asked.append(index)
                return super().__getitem__(index)

        records = Loading(ids_of([2, 2, 3, 3]))
        source = RaggedBatches(records, 2, 2, begin=10, lengths=[2, 2, 3, 3], shuffle=False)
        asked.clear()  # the checks of the annotations, on in tests, look at one or two
        source.padding_report()
        windows = source.epoch(0)[1]
        assert len(windows) == 2
        assert not asked
        assert windows[0].shape == (2, 2)
        assert windows[1].shape == (2, 1)
        assert asked == [2, 3]  # the second window needs no second load

    @pytest.mark.parametrize(
        ("records", "options", "message"),
        [
            ([], {}, "records are empty"),
            (ids_of([2, 0]), {}, "record 1 has no steps"),
            (ids_of([2]), {"batch_size": 0}, "batch_size is 0, expected a whole number"),
            (ids_of([2]), {"window": 0}, "window is 0, expected a whole number"),
            (ids_of([2]), {"lengths": [2, 3]}, "2 lengths for 1 records"),
        ],
    )
    def test_refuses(self, records, options, message):
        with pytest.raises(InputError, match=message):
            RaggedBatches(records, **{"batch_size": 2, "begin": 9, **options})

    @pytest.mark.parametrize(
        ("values", "begin", "message"),
        [
            ([np.array([1, 9])], 9, "record 0 has id 9 at step 1, expected 0 to 8"),
            ([np.array([1, -1])], 9, "record 0 has id -1 at step 1"),
            ([np.array([1.0])], 9, "float64 values .* since a begin id was given"),
            ([np.array([1.0, np.inf])], None, "an infinite value at step 1"),
            ([np.array([1.0, 1e200])], None, "an infinite value at step 1"),
            ([np.array(["a"])], None, "expected numbers"),
            ([np.zeros((2, 1)), np.zeros((2, 3))], None, "other columns than record"),
        ],
    )
    def test_refuses_values(self, values, begin, message):
        source = RaggedBatches([Record(each) for each in values], 2, begin=begin, shuffle=False)
        with pytest.raises(InputError, match=message):
            source.epoch(0)[0][0]

    @pytest.mark.parametrize(
        ("records", "message"),
        [
            ([Record(np.zeros(2), np.zeros((3, 1)))], r"covariates of shape \[3, 1\]"),
            ([Record(np.zeros(2), np.zeros((2, 1))), Record(np.zeros(2))], "other columns"),
            ([Record(np.zeros(2)), Record(np.zeros(2), np.zeros((2, 1)))], "other columns"),
        ],
    )
    def test_refuses_covariates(self, records, message):
        with pytest.raises(InputError, match=message):
            RaggedBatches(records, 2, shuffle=False).epoch(0)[0][0]

    def test_refuses_lengths_that_lie(self):
        source = RaggedBatches(ids_of([2]), 2, begin=9, lengths=[3])
        with pytest.raises(InputError, match="record 0 has 2 steps, lengths say 3"):
            source.epoch(0)[0][0]

    def test_refuses_negative_seeds_and_epochs(self):
        with pytest.raises(InputError, match="seed is -1"):
            RaggedBatches(ids_of([2]), 2, begin=9, seed=-1).epoch(0)
        with pytest.raises(InputError, match="epoch's number is -1"):
            RaggedBatches(ids_of([2]), 2, begin=9).epoch(-1)
