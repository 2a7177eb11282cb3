"""Open a release and look at both groups of each class.

python examples/load.py RELEASE   (a folder, or a dataset's name on the Hub)
"""

import sys

from datasets import load_dataset

photos = load_dataset(sys.argv[1])  # splits common and counter
pairs = load_dataset(sys.argv[1], "pairs", split="test")  # one row per class
name = photos["common"].features["label"].int2str
for pair in pairs:
    print(
        f"{name(pair['label'])} (ImageNet {pair['imagenet_index']}): "
        f"common on {pair['common_background']}, {pair['n_common']} photos; "
        f"counter on {pair['counter_background']}, {pair['n_counter']} photos"
    )

first = photos["counter"][0]
size = first["image"].size  # of a PIL image, upright
print(size, name(first["label"]), first["background"], first["licence"])
