"""The `transformers` library's own classes, from small configurations, with random weights."""

import transformers
from torch import nn

from tests.zoo.attention import series, words
from tests.zoo.checks import Case
from tests.zoo.convolutional import images

SIZE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_labels": 3,
}


def bert(**options):
    config = transformers.BertConfig(**SIZE, intermediate_size=48, max_position_embeddings=32, **options)
    return transformers.BertForSequenceClassification(config)


def roberta():
    config = transformers.RobertaConfig(
        **SIZE,
        intermediate_size=48,
        max_position_embeddings=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.RobertaForSequenceClassification(config)


def distilbert():
    config = transformers.DistilBertConfig(
        vocab_size=50, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=32, num_labels=3
    )
    return transformers.DistilBertForSequenceClassification(config)


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=50,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=32,
        num_labels=3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.GPT2ForSequenceClassification(config)


def one_call_gelu(net):
    """GPT-2 writes the tanh form of GELU out."""
    for block in net.transformer.h:
        block.mlp.act = nn.GELU(approximate="tanh")


def vit():
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        image_size=16,
        patch_size=4,
        num_labels=4,
    )
    return transformers.ViTForImageClassification(config)


def wav2vec2():
    config = transformers.Wav2Vec2Config(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        num_labels=3,
    )
    return transformers.Wav2Vec2ForSequenceClassification(config)


def texts(batch):
    ids = words(batch)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def pictures(batch):
    return {"pixel_values": images(16)(batch)}


def sounds(batch):
    return {"input_values": series(320)(batch)}


def ids(inputs):
    return inputs["input_ids"]


def logits(outputs):
    return outputs.logits


def text_case(make):
    return Case(make, texts, logits=logits, ids=ids, options={"output_name": "logits"})


CASES = {
    "BERT": text_case(bert),
    "BERT, eager attention": text_case(lambda: bert(attn_implementation="eager")),
    "RoBERTa": text_case(roberta),
    "DistilBERT": text_case(distilbert),
    "GPT-2 classifier": Case(
        gpt2, texts, logits=logits, ids=ids, options={"output_name": "logits"}, alike=one_call_gelu
    ),
    "ViT of transformers": Case(vit, pictures, logits=logits, options={"output_name": "logits"}),
    "wav2vec 2.0": Case(wav2vec2, sounds, logits=logits, options={"output_name": "logits"}),
}
