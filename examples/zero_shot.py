"""Classify a release's photos with open_clip itself: accuracy on each group.

python examples/zero_shot.py RELEASE MODEL [PRETRAINED]

such as ViT-B-32-quickgelu laion400m_e32. It chooses among the release's own classes.
"""

import sys

import open_clip
import torch
from datasets import load_dataset

model, _, transform = open_clip.create_model_and_transforms(*sys.argv[2:4])
photos = load_dataset(sys.argv[1])
names = photos["common"].features["label"].names
tokens = open_clip.get_tokenizer(sys.argv[2])([f"A photo of {name}." for name in names])
with torch.inference_mode():
    words = model.eval().encode_text(tokens, normalize=True)
    for group, rows in photos.items():
        pixels = (transform(row["image"])[None] for row in rows)
        seen = torch.cat([model.encode_image(one, normalize=True) for one in pixels])
        right = (seen @ words.T).argmax(dim=1) == torch.tensor(list(rows["label"]))
        print(f"{group}: {100 * right.float().mean():.1f} % of {len(rows)} photos")
