import numpy as np
import pytest
import torch

from throughtime.data import augment as module
from throughtime.data.augment import Augment
from throughtime.errors import InputError

TYPES = (torch.uint8, torch.float32, torch.float64, torch.bfloat16)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(batch=64, channels=2, height=6, width=9, dtype=torch.uint8):
    """No pixel of an image is 0, and all of a batch's are different where the type allows."""
    count = batch * channels * height * width
    return (torch.arange(count) % 255 + 1).reshape(batch, channels, height, width).to(dtype)


def refused(message, function, *arguments, **fields):
    with pytest.raises(InputError, match=message) as caught:
        function(*arguments, **fields)
    assert "\n" not in str(caught.value)


class TestText:
    @pytest.mark.parametrize(
        ("text", "augment"),
        [
            ("none", Augment()),
            ("shift=2", Augment(shift=2)),
            ("flip", Augment(flip=True)),
            ("shift=2,flip,cutout=4,mixup=0.2", Augment(2, True, 4, 0.2)),
            ("mixup=1e-05", Augment(mixup=1e-5)),
            ("cutout=16,mixup=1.0", Augment(cutout=16, mixup=1.0)),
        ],
    )
    def test_there_and_back(self, text, augment):
        assert Augment.parse(text) == augment
        assert str(augment) == text

    @pytest.mark.parametrize(
        ("text", "same"),
        [("", "none"), (" none ", "none"), (" flip , shift = 2", "shift=2,flip"),
         ("shift=0", "none"), ("mixup=1", "mixup=1.0"), ("mixup=.5", "mixup=0.5"),
         ("mixup=2.", "mixup=2.0"), ("mixup=1E-1", "mixup=0.1")],
    )  # fmt: skip
    def test_other_ways_to_write_it(self, text, same):
        assert str(Augment.parse(text)) == same

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("turn", "there is no 'turn' in 'turn', expected some of shift, flip, cutout, mixup"),
            ("flip,", "there is no ''"),
            ("none,flip", "there is no 'none'"),
            ("Flip", "there is no 'Flip'"),
            ("flip,shift=1,flip", "flip comes twice"),
            ("shift", "'shift' in 'shift', expected shift=PIXELS"),
            ("shift=", "expected shift=PIXELS"),
            ("shift=1.5", "'shift=1.5' in 'shift=1.5', expected shift=PIXELS"),
            ("shift=-1", "expected shift=PIXELS"),
            ("shift=٣", "expected shift=PIXELS"),
            ("cutout=1=2", "expected cutout=PIXELS"),
            ("flip=1", "'flip=1' in 'flip=1', expected flip, without a value"),
            ("flip=", "expected flip, without"),
            ("mixup=nan", "expected mixup=ALPHA"),
            ("mixup=inf", "expected mixup=ALPHA"),
            ("mixup=-0.1", "expected mixup=ALPHA"),
            ("mixup=1e999", "mixup is inf, expected a number of 0 or more"),
        ],
    )
    def test_refuses(self, text, message):
        refused(f"^augment: .*{message}", Augment.parse, text)

    def test_refuses_values(self):
        refused("shift is -1, expected 0 or more", Augment, shift=-1)
        refused("cutout is -2, expected 0 or more", Augment, cutout=-2)
        for bad in (-0.5, float("nan"), float("inf")):
            refused(f"mixup is {bad}, expected", Augment, mixup=bad)


class TestAll:
    @pytest.mark.parametrize("dtype", TYPES)
    @pytest.mark.parametrize(
        "text", ["none", "shift=2", "flip", "cutout=3", "shift=1,flip,cutout=2"]
    )
    def test_form_stays_and_the_input_as_well(self, text, dtype):
        augment, images = Augment.parse(text), pictures(dtype=dtype)
        before = images.clone()
        changed = augment(images, seeded())
        assert (changed.shape, changed.dtype) == (images.shape, images.dtype)
        assert torch.equal(images, before)
        assert torch.equal(changed, images) == (text == "none")

    @pytest.mark.parametrize("text", ["shift=2", "flip", "cutout=3", "shift=1,flip,cutout=2"])
    def test_the_generator_decides_alone(self, text):
        augment, images = Augment.parse(text), pictures()
        first = augment(images, seeded(3))
        torch.rand(5)  # draws of others change nothing
        assert torch.equal(augment(images, seeded(3)), first)
        assert not torch.equal(augment(images, seeded(4)), first)
        generator = seeded(3)
        augment(images, generator)
        assert not torch.equal(augment(images, generator), first)

    @pytest.mark.parametrize("text", ["shift=2", "flip", "cutout=3"])
    def test_each_image_has_its_own_draw(self, text):
        images = pictures(batch=1).expand(64, -1, -1, -1)
        changed = Augment.parse(text)(images, seeded())
        assert len({tuple(image.flatten().tolist()) for image in changed}) >= 2
        # All channels of one are changed alike.
        same = pictures(batch=64, channels=1).expand(-1, 3, -1, -1)
        changed = Augment.parse(text)(same, seeded())
        assert torch.equal(changed[:, :1].expand(-1, 3, -1, -1), changed)

    def test_no_images(self):
        augment = Augment.parse("shift=1,flip,cutout=2")
        assert augment(torch.zeros(0, 1, 4, 4), seeded()).shape == (0, 1, 4, 4)

    def test_values_survive_beside_what_is_not_finite(self):
        images = torch.ones(32, 1, 5, 5)
        images[::2] = torch.nan
        changed = Augment.parse("shift=1,flip,cutout=2")(images, seeded())
        assert changed[1::2].isfinite().all()
        # What is cut out is 0, whatever stood there.
        assert (changed[::2] == 0).any()

    def test_order_is_flip_shift_cutout(self):
        images, generator = pictures(), seeded()
        step = Augment(flip=True)(images, generator)
        step = Augment(shift=2)(step, generator)
        step = Augment(cutout=3)(step, generator)
        assert torch.equal(Augment(2, True, 3)(images, seeded()), step)

    def test_refuses_more_than_the_images_have(self):
        images = pictures(height=6, width=9)
        Augment(shift=6, cutout=6)(images, seeded())
        refused("shift is 7, expected at most the 6 pixels", Augment(shift=7), images, seeded())
        refused("cutout is 7, expected at most the 6", Augment(cutout=7), images, seeded())


class TestShift:
    @pytest.mark.parametrize("most", [1, 2])
    def test_every_place_is_as_likely_and_what_comes_in_is_0(self, most):
        batch, height, width = 4000, 6, 9
        images = pictures(1, 2, height, width).expand(batch, -1, -1, -1)
        changed = Augment(shift=most)(images, seeded()).numpy()
        whole, places = images[0].numpy(), range(-most, most + 1)
        expected = {}
        for down in places:
            for right in places:
                bordered = np.pad(whole, [(0, 0), (most, most), (most, most)])
                shifted = np.roll(bordered, (-down, -right), (1, 2))
                shifted = shifted[:, most : most + height, most : most + width]
                expected[shifted.tobytes()] = 0
        for image in changed:
            expected[image.tobytes()] += 1  # a KeyError where it is none of them
        share = batch / len(expected)
        deviations = [(count - share) / share**0.5 for count in expected.values()]
        assert len(expected) == (2 * most + 1) ** 2
        assert np.abs(deviations).max() < 4.5


class TestFlip:
    def test_one_in_two_is_mirrored(self):
        images = pictures(batch=1000)
        changed = Augment(flip=True)(images, seeded())
        mirrored = (changed == images.flip(-1)).flatten(1).all(1)
        left = (changed == images).flatten(1).all(1)
        assert (mirrored ^ left).all()
        assert 430 < int(mirrored.sum()) < 570


class TestCutout:
    @pytest.mark.parametrize("side", [1, 2, 3, 4])
    def test_every_place_is_as_likely(self, side):
        batch, height, width = 6000, 4, 5
        images = pictures(batch, 1, height, width)
        changed = Augment(cutout=side)(images, seeded())
        cut = changed == 0
        assert torch.equal(changed[~cut], images[~cut])
        expected = {}
        for p in range(height):
            for q in range(width):
                square = np.zeros((height, width), bool)
                top, left = p - side // 2, q - side // 2
                square[max(top, 0) : top + side, max(left, 0) : left + side] = True
                assert square[p, q]
                expected[square.tobytes()] = expected.get(square.tobytes(), 0) + 1
        counts = dict.fromkeys(expected, 0)
        for image in cut[:, 0].numpy():
            counts[image.tobytes()] += 1
        for square, ways in expected.items():
            share = batch * ways / (height * width)
            assert abs(counts[square] - share) < 4.5 * share**0.5


class TestMix:
    def test_blends_what_the_equation_says(self):
        images = pictures(batch=16, dtype=torch.float64)
        targets = torch.eye(16, dtype=torch.float64)
        mixed, shares = Augment(mixup=1.0).mix(images, targets, seeded())
        # The targets hold lambda and the permutation, so that the images can be told from them.
        assert torch.allclose(mixed, torch.einsum("nm,mchw->nchw", shares, images))
        assert torch.allclose(shares.sum(1), torch.ones(16, dtype=torch.float64))
        own = shares.diagonal()
        moved = own < 1
        assert moved.sum() >= 12
        assert own[moved].max() == own[moved].min()
        assert 0 < own[moved].min() < 1
        other = shares - torch.diag(own)
        assert sorted(other[moved].argmax(1).tolist()) == moved.nonzero()[:, 0].tolist()

    def test_the_generator_decides_alone(self):
        augment, images, targets = Augment(mixup=0.4), pictures(), torch.rand(64, 3)
        first = augment.mix(images, targets, seeded(3))
        np.random.seed(1)
        again = augment.mix(images, targets, seeded(3))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(augment.mix(images, targets, seeded(4))[1], first[1])

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
    def test_lambda_is_beta(self, alpha):
        generator, images = seeded(), torch.zeros(2, 1, 1, 1)
        draws = []
        while len(draws) < 500:
            _, shares = Augment(mixup=alpha).mix(images, torch.eye(2), generator)
            if shares[0, 1] > 0:  # else nothing was swapped, or lambda is 1
                draws.append(float(shares[0, 0]))
        # Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
        assert abs(np.mean(draws) - 0.5) < 0.06
        assert np.var(draws) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)

    @pytest.mark.parametrize("dtype", TYPES)
    @pytest.mark.parametrize("alpha", [0.0, 0.3])
    def test_types(self, dtype, alpha):
        images = pictures(dtype=dtype)
        mixed, targets = Augment(mixup=alpha).mix(images, torch.rand(64, 3), seeded())
        assert mixed.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
        assert mixed.shape == images.shape
        assert targets.dtype == torch.float32
        assert mixed.max() <= 256  # the scale stays
        assert mixed.max() > 200

    def test_without_it_nothing_changes(self):
        images, targets, generator = pictures(), torch.rand(64, 3), seeded()
        mixed, same = Augment(shift=2, flip=True).mix(images, targets, generator)
        assert torch.equal(mixed, images.float())
        assert torch.equal(same, targets)
        assert torch.equal(generator.get_state(), seeded().get_state())

    @pytest.mark.parametrize("alpha", [1e-300, 1e-8, 1e8, 1e300])
    def test_any_alpha_gives_a_share(self, alpha):
        for seed in range(20):
            assert 0 <= module._beta(alpha, seeded(seed)) <= 1


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_on_a_device(where):
    augment, images = Augment.parse("shift=2,flip,cutout=3,mixup=0.5"), pictures()
    generator = torch.Generator(where).manual_seed(0)
    changed = augment(images.cuda(), generator)
    mixed, targets = augment.mix(changed, torch.eye(64).cuda(), generator)
    assert {changed.device.type, mixed.device.type, targets.device.type} == {"cuda"}
    if where == "cpu":  # the same draws give the same images anywhere
        assert torch.equal(changed.cpu(), augment(images, seeded()))
