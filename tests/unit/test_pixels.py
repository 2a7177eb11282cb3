"""Squares are Pillow's or near them, and decoding stays a little ahead."""

import io
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evaluation import _jpeg, _resample, pixels
from evaluation.errors import ConfigError, InputError
from evaluation.images import decode, fit
from evaluation.models import PixelSpec, Runtime
from evaluation.pixels import decoded, fastest, fit_compiled, picture

RNG = np.random.default_rng(11)
SPECS = [
    PixelSpec(size=20, resize_to=20),
    PixelSpec(size=20, resize_to=23, interpolation="bilinear"),
    PixelSpec(size=17, resize="squash", resize_to=17),
    PixelSpec(size=17, resize="squash", resize_to=19),
    PixelSpec(size=24, resize_to=17),  # padded with black
]
SHAPES = [(45, 67), (67, 45), (20, 31), (31, 20), (20, 20), (7, 5), (90, 21), (1, 40)]
SHAPES += [(60, 30), (61, 30), (40, 30), (41, 30), (200, 30), (31, 20)]


def noise(height, width, *, hard=False) -> Image.Image:
    """Random pixels; `hard` ones make bicubic overshoot on both sides."""
    values = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(
        np.where(values > 127, 255, 0).astype(np.uint8) if hard else values
    )


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("hard", [False, True])
def test_compiled_squares_are_pillows(spec, hard):
    shapes = SHAPES if _resample.COMPILED else [*SHAPES[:2], SHAPES[-1]]
    for shape in shapes:
        image = noise(*shape, hard=hard)
        np.testing.assert_array_equal(fit_compiled(image, spec), fit(image, spec))


def test_large_pictures_that_lie_in_pieces():
    image = Image.new("RGB", (2500, 2000), (9, 120, 250))  # above 16 MiB
    found = pixels._four_bytes(image)
    assert found.shape == (2000, 2500)
    assert (found.view(np.uint8).reshape(2000, 2500, 4)[..., :3] == (9, 120, 250)).all()


def _jpeg_of(image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


WHOLE = _jpeg_of(noise(61, 83))


def _exif(value) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


JPEGS = {
    "444": {"subsampling": 0},
    "422": {"subsampling": 1},
    "420": {"subsampling": 2, "quality": 30},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "best": {"quality": 100, "subsampling": 0},
    **{f"turned {value}": {"exif": _exif(value)} for value in range(2, 9)},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_photos_are_what_the_models_own_pipelines_see(options):
    from PIL import ImageOps
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    data, spec = _jpeg_of(noise(61, 83), **options), SPECS[0]
    theirs = transforms.Compose(
        [transforms.Resize(20, InterpolationMode.BICUBIC), transforms.CenterCrop(20)]
    )
    with Image.open(io.BytesIO(data)) as opened:
        wanted = np.asarray(theirs(ImageOps.exif_transpose(opened).convert("RGB")))
    for cut in (fit, fit_compiled):
        found = picture("x", {spec}, lambda _: data, cut).squares[spec]
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("mode", ["L", "CMYK", "YCbCr", "1"])
def test_other_modes_come_the_same_way(mode):
    file = io.BytesIO()
    noise(40, 50).convert(mode).save(file, "TIFF" if mode == "1" else "JPEG")
    image = decode(file.getvalue())
    np.testing.assert_array_equal(fit_compiled(image, SPECS[0]), fit(image, SPECS[0]))


def test_one_photo_many_squares():
    data = WHOLE
    found = picture("x", set(SPECS), lambda _: data, fit_compiled)
    assert found.error is None
    assert {spec: one.shape for spec, one in found.squares.items()} == {
        spec: (spec.size, spec.size, 3) for spec in SPECS
    }


def test_damage_is_told_as_before():
    def missing(_):
        raise FileNotFoundError(2, "No such file or directory")

    def unwell(_):
        message = "the shard is damaged"
        raise InputError(message)

    cut = picture("x", {SPECS[0]}, lambda _: WHOLE[:500])
    assert (cut.error or "").startswith("truncated or damaged")
    assert cut.lasting
    gone = picture("x", {SPECS[0]}, missing)
    assert gone.error == "cannot be read: No such file or directory"
    assert not gone.lasting
    assert picture("x", set(), unwell).error == "cannot be read: the shard is damaged"


class TestFastest:
    @pytest.fixture(autouse=True)
    def _anew(self):
        fastest.cache_clear()
        pixels._order.cache_clear()
        yield
        fastest.cache_clear()
        pixels._order.cache_clear()

    def test_it_cuts_pillows_squares(self):
        image = noise(70, 50)
        np.testing.assert_array_equal(fastest()(image, SPECS[0]), fit(image, SPECS[0]))
        assert fastest() is (fit_compiled if _resample.COMPILED else fit)

    def test_without_numba_pillow_does_it(self, monkeypatch):
        monkeypatch.setattr(_resample, "COMPILED", False)
        assert fastest() is fit

    def test_one_that_differs_is_not_trusted(self, monkeypatch, caplog):
        monkeypatch.setattr(_resample, "COMPILED", True)
        monkeypatch.setattr(_resample, "square", lambda *_: np.zeros((24, 24, 3)))
        assert fastest() is fit
        assert "differs from this Pillow's" in caplog.text

    def test_one_that_fails_is_not_trusted(self, monkeypatch, caplog):
        def broken(*_):
            message = "no compiler"
            raise RuntimeError(message)

        monkeypatch.setattr(_resample, "COMPILED", True)
        monkeypatch.setattr(_resample, "square", broken)
        assert fastest() is fit
        assert "no compiler" in caplog.text


def test_it_is_asked_only_where_photos_are_many(monkeypatch):
    asked = []
    monkeypatch.setattr(pixels, "fastest", lambda: asked.append(1) or fit)
    data = WHOLE
    spec = {SPECS[0]}
    few = [[str(one) for one in range(8)]]
    list(decoded(few, lambda _: spec, lambda _: data, jobs=1))
    assert not asked
    monkeypatch.setattr(pixels, "_MANY", 8)
    list(decoded(few, lambda _: spec, lambda _: data, jobs=1))
    assert asked


def test_decoding_stays_a_few_blocks_ahead():
    data, lock, read = WHOLE, threading.Lock(), []

    def reader(photo_id):
        with lock:
            read.append(photo_id)
        return data

    blocks = [[f"{block}.{one}" for one in range(3)] for block in range(10)]
    coming = decoded(blocks, lambda _: {SPECS[0]}, reader, jobs=2)
    block, pictures = next(coming)
    assert block == blocks[0]
    assert [one.error for one in pictures] == [None] * 3
    time.sleep(0.2)  # threads that would run on had time to
    with lock:
        assert len(read) <= 3 * (1 + pixels._AHEAD)
    assert [block for block, _ in coming] == blocks[1:]
    assert sorted(read) == sorted(sum(blocks, []))


class TestTorchvision:
    """Its CPU decoder stands for nvJPEG: one code runs both."""

    RUNTIME = Runtime(device="cpu,cpu", decoder="torchvision")
    SPECS = tuple(replace(spec, decoder="torchvision") for spec in SPECS)

    def pictures(self, files):
        names = [str(place) for place in range(len(files))]
        coming = decoded(
            [names[:2], names[2:]],
            lambda _: set(self.SPECS),
            lambda one: files[int(one)],
            jobs=2,
            runtime=self.RUNTIME,
        )
        return [one for _, some in coming for one in some]

    def test_squares_are_near_pillows(self):
        smooth = noise(8, 11).resize((110, 80), Image.Resampling.BICUBIC)
        files = []
        for options in ({}, {"progressive": True}, {"subsampling": 0}):
            files.append(_jpeg_of(smooth, quality=95, **options))
        files.append(_jpeg_of(smooth.resize((5, 7)), quality=95))
        for data, found in zip(files, self.pictures(files), strict=True):
            assert found.error is None
            for spec in self.SPECS:
                square = found.squares[spec]
                assert (square.shape, square.dtype) == ((spec.size,) * 2 + (3,), "u1")
                gap = np.abs(square.astype(int) - fit(decode(data), spec))
                assert gap.max() <= 4, spec

    @pytest.mark.parametrize("kind", ["turned", "PNG", "L", "CMYK", "RGB", "tail"])
    def test_what_is_no_plain_jpeg_is_pillows(self, kind):
        image = noise(40, 50)
        if kind == "PNG":
            file = io.BytesIO()
            image.save(file, kind)
            data = file.getvalue()
        elif kind in ("L", "CMYK"):
            data = _jpeg_of(image.convert(kind))
        elif kind == "RGB":
            data = _jpeg_of(image, keep_rgb=True)
        elif kind == "turned":
            data = _jpeg_of(image, exif=_exif(6))
        else:
            data = _jpeg_of(image) + b"tail"
        (found,) = self.pictures([data])
        for spec in self.SPECS:
            np.testing.assert_array_equal(found.squares[spec], fit(decode(data), spec))

    @settings(max_examples=50)
    @given(st.integers(2, 2500), st.binary(min_size=1, max_size=40), st.booleans())
    def test_a_file_is_refused_with_the_same_reason(self, place, damage, cut):
        whole = WHOLE
        place %= len(whole)
        data = whole[:place] + damage + (b"" if cut else whole[place + len(damage) :])
        good, found = self.pictures([whole, data])
        assert good.error is None
        wanted = picture("x", set(self.SPECS), lambda _: data)
        assert (found.error, found.lasting) == (wanted.error, wanted.lasting)

    def test_one_that_torchvision_refuses_costs_the_others_nothing(self, monkeypatch):
        import torch

        decode_all = _jpeg._decode

        def fussy(files, device):
            if files[0] is WHOLE or len(files) > 1:
                message = "this one"
                raise RuntimeError(message)
            return decode_all(files, device)

        other = _jpeg_of(noise(30, 40))
        monkeypatch.setattr(_jpeg, "_decode", fussy)
        size = [(83, 61), (40, 30)]
        wanted = [set(self.SPECS)] * 2
        first, second = _jpeg.squares([WHOLE, other], size, wanted, torch.device("cpu"))
        assert first is None
        assert second.keys() == set(self.SPECS)

    def test_photos_are_decoded_within_bounds(self):
        huge = (30_000, 3_000)
        extents = [(100, 100), huge, huge, (100, 100), (100, 100)]
        assert [extents[part] for part in _jpeg._parts(extents)] == [
            extents[:1], [huge], [huge], extents[3:],
        ]  # fmt: skip
        assert [*_jpeg._parts([])] == []

    def test_what_cannot_be_read_is_told_as_before(self):
        def missing(_):
            raise FileNotFoundError(2, "No such file or directory")

        [(_, [found])] = decoded(
            [["x"]], lambda _: set(self.SPECS), missing, jobs=1, runtime=self.RUNTIME
        )
        assert found.error == "cannot be read: No such file or directory"
        assert not found.lasting

    def test_a_torchvision_without_it_is_said(self, monkeypatch):
        def gone(*_, **__):
            message = "Couldn't load the image extension"
            raise RuntimeError(message)

        monkeypatch.setattr("torchvision.io.decode_jpeg", gone)
        with pytest.raises(
            ConfigError, match=r"image extension; install a torchvision"
        ):
            _jpeg.check.__wrapped__()
        monkeypatch.delattr("torchvision.io.decode_jpeg")
        with pytest.raises(ConfigError, match="use the decoder 'pillow'"):
            _jpeg.check.__wrapped__()
