"""A vision-language model like LLaVA-1.5, with random weights and a few hundred KB.

Built of the classes that transformers has for the real ones, so that what works with it
works with them: a CLIP image tower, a projector, a Llama decoder, a byte-pair tokenizer
and a processor with a chat template.
"""

from pathlib import Path

SIDE, PATCH = 30, 10
WORDS = (
    "USER: What is the main object in the image? ASSISTANT: A ostrich polar bear",
    "Describe this image in detail. Is there a gorilla in the image? ASSISTANT: Yes",
    "Is this image a photo of dung beetle? American black bear",
)
TEMPLATE = (
    "{% for m in messages %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def build(folder: Path, *, template: str | None = TEMPLATE, seed: int = 0) -> Path:
    """Write the model's files; returns the folder."""
    import torch
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = _tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=32,
    )
    text = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=vision,
                text_config=text,
                image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
                vision_feature_select_strategy="default",
                vision_feature_layer=-2,
                image_seq_length=(SIDE // PATCH) ** 2,
            )
        )
        for weights in network.parameters():
            if weights.dim() > 1:  # far from equal answers
                weights.data.normal_(0, 0.2)
    network.save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)
    return folder


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    found = Tokenizer(models.BPE(unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(
            vocab_size=160,
            special_tokens=["<unk>", "<s>", "</s>", "<pad>", "<image>"],
            initial_alphabet=list("abcdefghijklmnopqrstuvwxyz?.:,\n'"),
            show_progress=False,
        ),
    )
    found.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", found.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=found,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
