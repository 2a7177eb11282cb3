"""ImageNet's classes under other circumstances: V2, R, A and Sketch."""

from evaluation.readers import Reader
from evaluation.readers._sets import PublishedSet, class_folders, class_labels

_V2 = {
    "matched-frequency": "drawn like ImageNet's validation set",
    "threshold-0.7": "chosen by at least 0.7 of those asked",
    "top-images": "those most often chosen",
}
# as folders of the three are called, their own archives' first
_V2_PARTS = {
    "matched-frequency": "matched-frequency",
    "threshold-0.7": "threshold0.7",
    "top-images": "top-images",
}


def _v2(variant: str) -> PublishedSet:
    part = _V2_PARTS[variant]
    others = [one for one in _V2_PARTS.values() if one != part]
    return PublishedSet(
        name=f"imagenet-v2-{variant}",
        role="shift",
        about=f"ImageNet-V2, {_V2[variant]}: 10 photos of each class",
        source=(
            f"imagenetv2-{part}.tar.gz of huggingface.co/datasets/vaishaal/ImageNetV2, "
            "unpacked: folders 0 to 999 are ImageNet indices"
        ),
        in_folder=class_folders,
        of_hub=class_labels,
        photos=10_000,
        roots=(
            f"imagenetv2-{part}-format-val",
            f"imagenetv2-{part}",
            f"ImageNetV2-{part}",
        ),
        not_in=tuple(others),
    )


_R = PublishedSet(
    name="imagenet-r",
    role="shift",
    about="ImageNet-R, renditions (art, cartoons, toys, …) of 200 classes",
    source=(
        "imagenet-r.tar of github.com/hendrycks/imagenet-r, unpacked: a folder per "
        "WordNet id, 200 of them"
    ),
    in_folder=class_folders,
    of_hub=class_labels,
    photos=30_000,
    subset="imagenet-r",
    label_space="imagenet-r",
    roots=("imagenet-r",),
)
_A = PublishedSet(
    name="imagenet-a",
    role="shift",
    about="ImageNet-A, photos of 200 classes that ResNet-50 gets wrong",
    source=(
        "imagenet-a.tar of github.com/hendrycks/natural-adv-examples, unpacked: a "
        "folder per WordNet id, 200 of them"
    ),
    in_folder=class_folders,
    of_hub=class_labels,
    photos=7_500,
    subset="imagenet-a",
    label_space="imagenet-a",
    roots=("imagenet-a",),
)
_SKETCH = PublishedSet(
    name="imagenet-sketch",
    role="shift",
    about="ImageNet-Sketch, drawings without colour of all classes",
    source=(
        "ImageNet-Sketch.zip of huggingface.co/datasets/songweig/imagenet_sketch, "
        "unpacked: a folder per WordNet id, 1,000 of them"
    ),
    in_folder=class_folders,
    of_hub=class_labels,
    photos=50_889,
    roots=("sketch", "imagenet-sketch"),
    splits=("train", "test", "validation"),
)

READERS: dict[str, Reader] = {
    one.name: one for one in (*map(_v2, _V2), _R, _A, _SKETCH)
}
