"""Texts without their padding: the embeddings of open_clip, whatever the text tower."""

import pytest
import torch

from evaluation.models import open_clip as backend

PROMPTS = [
    "a dog",
    "",
    "!!!",
    "A photo of a Polar-Bear, really?",
    "a photo of many " + "very " * 30 + "small birds",
    "long " * 100,
    "A photo of ostrich.",
]
TEXT = {"vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SEES = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TOWERS = {
    "clip": (False, TEXT | {"context_length": 77}),
    "custom": (True, TEXT | {"context_length": 77, "proj_bias": True}),
    "eos": (True, TEXT | {"context_length": 77, "pool_type": "eos", "eos_id": 49407}),
    "eos that no text has": (True, TEXT | {"context_length": 77, "pool_type": "eos"}),
    "last": (True, TEXT | {"context_length": 77, "pool_type": "last"}),
    "coca": (True, TEXT | {"context_length": 76, "embed_cls": True}),
    "both ways": (True, TEXT | {"context_length": 77, "no_causal_mask": True}),
}


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("count", [len(PROMPTS), 2])
def test_texts_are_those_of_open_clip(tower, count):
    import open_clip
    from open_clip.model import CLIP, CustomTextCLIP

    custom, text = TOWERS[tower]
    torch.manual_seed(1)
    network = (CustomTextCLIP if custom else CLIP)(
        embed_dim=16, vision_cfg=SEES, text_cfg=text
    ).eval()
    tokenizer = open_clip.SimpleTokenizer(context_length=text["context_length"])
    prompts = PROMPTS[:count]
    with torch.inference_mode():
        wanted = network.encode_text(tokenizer(prompts), normalize=True)
        found = backend._encode(network, tokenizer(prompts))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    short = backend._reach(network, tokenizer(PROMPTS[:2]))
    cut = tower in ("clip", "custom", "eos")
    assert short == (16 if cut else None)
