"""What goes wrong in collections, planted: copies, wrong, unclear and broken files."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from curation.demo import design
from curation.demo.assets import opened, pictures
from curation.demo.compose import backdrop, compose, credits, hide, place
from curation.demo.drafts import Draft, Scene, composed, draft, jpeg, scene
from curation.demo.pictures import classes

KINDS = ("resized", "recompressed", "cropped", "mirrored", "bytes")
PER_KIND = (4, 1)
"""Copies of each kind, of composed and of real photos."""

BLURRED, AMBIGUOUS, OCCLUDED = 8, 6, 6
SWAPPED = 3
"""Photos of a class filed under another, beside those of animals of no class at all."""

RADIUS = (5.0, 8.0)
"""Blur, pixels of a frame of 384 × 288."""

HIDDEN = 0.75
_PAGE = b"<!doctype html><title>404 Not Found</title><p>The photo is gone.</p>\n"
_CLASSES = tuple(design.DEMO)


def faulty(seed: int) -> list[Draft]:
    """Photos that decode and should not be in the dataset, each with its criterion."""
    return [*_wrong(seed), *_blurred(seed), *_ambiguous(seed), *_occluded(seed)]


def duplicates(sound: list[Draft], *, rng: np.random.Generator) -> list[Draft]:
    """Copies of sound photos, of every kind; no photo is copied twice."""
    made = [photo for photo in sound if photo.composed]
    taken = [photo for photo in sound if not photo.composed]
    made = [made[place_] for place_ in rng.permutation(len(made))]
    taken = [taken[place_] for place_ in rng.permutation(len(taken))]
    copies = []
    for kind in KINDS:
        for photos, count in zip((made, taken), PER_KIND, strict=True):
            for _ in range(count):
                copies.append(_copy(photos.pop(), kind))
    return copies


def corrupt(seed: int) -> list[Draft]:
    """Files named .jpg that are no whole pictures."""
    found = []
    for number, kind in enumerate(("truncated", "truncated", "empty", "text", "page")):
        index = _CLASSES[number]
        label = design.DEMO[index][0]
        whole = composed(index, label, (seed, 40, number), turn=number)
        data = {
            "truncated": whole.data[: len(whole.data) // 2],
            "empty": b"",
            "text": b"This is not a picture.\n",
            "page": _PAGE,
        }[kind]
        found.append(
            replace(
                whole,
                data=data,
                observation="",
                planted="corrupt",
                about={"kind": kind},
            )
        )
    return found


def _copy(of: Draft, kind: str) -> Draft:
    """What a copy found elsewhere looks like; nothing says what it is a copy of."""
    return replace(
        of,
        data=of.data if kind == "bytes" else _changed(of.data, kind),
        observation="",
        planted="duplicates",
        about={"kind": kind},
        copies=of,
    )


def _changed(data: bytes, kind: str) -> bytes:
    with Image.open(io.BytesIO(data)) as file:
        picture = file.convert("RGB")
    width, height = picture.size
    if kind == "resized":
        size = (round(width * 0.6), round(height * 0.6))
        return jpeg(picture.resize(size, Image.Resampling.LANCZOS))
    if kind == "recompressed":
        return jpeg(picture, quality=35)
    if kind == "mirrored":
        return jpeg(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    x, y = round(width * 0.04), round(height * 0.04)
    return jpeg(picture.crop((x, y, width - x, height - y)))


def _wrong(seed: int) -> list[Draft]:
    """Animals of no class, and of another class, filed under a class."""
    strange = [cutout for cutout in pictures("cutout") if cutout.index is None]
    known = classes()
    swapped = [known[index][0] for index in _CLASSES[-SWAPPED:]]
    found = []
    for number, cutout in enumerate([*strange, *swapped]):
        index = _CLASSES[number]
        label = _background(index, number)
        made = scene(cutout, label, (seed, 10, number), turn=number)
        photo = draft(made, made.picture(), design.name(index))
        photo.planted, photo.criterion = "wrong", "label_noise"
        photo.about = {"filed_under": photo.class_, "shows": _called(made)}
        # the note of a photo filed wrongly does not give it away
        photo.note = photo.note.replace(cutout.name, "an animal")
        found.append(photo)
    return found


def _background(index: int, turn: int) -> str:
    """One of a class's backgrounds, in turn."""
    some = design.DEMO[index]
    return some[turn % len(some)]


def _called(made: Scene) -> str:
    index = made.cutout.index
    return made.cutout.name if index is None else design.name(index)


def _scenes(
    seed: int, part: int, count: int
) -> list[tuple[Scene, str, np.random.Generator]]:
    """Scenes of the demo's classes in turn, their class and a generator each."""
    found = []
    for number in range(count):
        index = _CLASSES[(5 * number + part) % len(_CLASSES)]
        label = _background(index, number)
        key = (seed, part, number)
        made = scene(classes()[index][0], label, key, turn=number)
        rng = np.random.default_rng((*key, 1))
        found.append((made, design.name(index), rng))
    return found


def _blurred(seed: int) -> list[Draft]:
    found = []
    for made, class_, rng in _scenes(seed, 20, BLURRED):
        radius = rng.uniform(*RADIUS)
        picture = made.picture().filter(ImageFilter.GaussianBlur(radius))
        photo = draft(made, picture, class_)
        photo.planted, photo.criterion = "blurred", "clarity"
        found.append(photo)
    return found


def _ambiguous(seed: int) -> list[Draft]:
    """Two animals of two classes, equally prominent."""
    found = []
    for made, class_, rng in _scenes(seed, 25, AMBIGUOUS):
        others = [i for i in _CLASSES if i != made.cutout.index]
        index = others[int(rng.integers(len(others)))]
        second = classes()[index][0]
        width = made.placement.size[0]
        first = replace(
            made.placement, left=max(8, min(made.placement.left, 176 - width))
        )
        animal, plain = opened(second), backdrop(opened(made.background), first)
        beside = place(animal, plain, rng=rng)
        beside = replace(
            beside,
            left=max(beside.left, min(200, 376 - beside.size[0])),
            window=(0, 0, *plain.size),
            mirror=False,
        )
        one = compose(opened(made.cutout), opened(made.background), first)
        photo = draft(made, compose(animal, one, beside), class_)
        photo.planted, photo.criterion = "ambiguous", "ambiguity"
        photo.about = {"also": design.name(index)}
        photo.credit = credits([made.cutout, second, made.background])
        found.append(photo)
    return found


def _occluded(seed: int) -> list[Draft]:
    """Most of the animal is behind something."""
    found = []
    for made, class_, _ in _scenes(seed, 30, OCCLUDED):
        behind = backdrop(opened(made.background), made.placement)
        picture = hide(made.picture(), behind, made.placement, part=HIDDEN)
        photo = draft(made, picture, class_)
        photo.planted, photo.criterion = "occluded", "feature_noise"
        found.append(photo)
    return found
