"""Open a release and look at both groups of each class.

python examples/load.py RELEASE   (a folder, or a dataset's name on the Hub)
"""

import sys
from collections import Counter

from datasets import load_dataset

photos = load_dataset(sys.argv[1])  # splits common and counter
pairs = load_dataset(sys.argv[1], "pairs", split="test")  # one row per class

classes = photos["common"].features["label"]
counts = {
    split: Counter(zip(rows["label"], rows["background"], strict=True))
    for split, rows in photos.items()
}
for pair in pairs:
    print(
        f"{classes.int2str(pair['label'])} (ImageNet {pair['imagenet_index']}): "
        f"common on {pair['common_background']}, "
        f"{counts['common'][pair['label'], pair['common_background']]} photos; "
        f"counter on {pair['counter_background']}, "
        f"{counts['counter'][pair['label'], pair['counter_background']]} photos"
    )

first = photos["counter"][0]
width, height = first["image"].size  # a PIL image, upright
print(f"{first['photo_id'][:12]}: {width} × {height}, {first['licence']}")
