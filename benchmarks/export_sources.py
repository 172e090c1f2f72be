"""PyTorch modules of real architectures, ready to be exported, with example feeds and dynamic axes.

Weights are random (seed them before the call) except where a package ships them: MiniLM,
EfficientNet-lite0 and SmolLM2. See `exports.py` for what has to be installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import zoo  # noqa: E402
from export_wrapping import (  # noqa: E402
    TEXT_AXES,
    Source,
    cached_causal_model,
    causal_model,
    image_model,
    load_timm,
    text_encoder,
    text_feeds,
)


def _thousand_classes(config: Any) -> Any:
    config.num_labels = 1000
    return config


def mobilenetv2() -> Source:
    """MobileNetV2 with TensorFlow's padding, computed in the graph."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return image_model(MobileNetV2ForImageClassification(_thousand_classes(MobileNetV2Config())))


def resnet50() -> Source:
    """ResNet-50 whose residual branches are not zero at the start."""
    return image_model(load_timm().create_model("resnet50", zero_init_last=False))


def vit_tiny() -> Source:
    """ViT-Ti/16."""
    return image_model(load_timm().create_model("vit_tiny_patch16_224"))


def mobilenetv3() -> Source:
    """MobileNetV3-Large: hard swish, squeeze and excitation."""
    return image_model(load_timm().create_model("mobilenetv3_large_100"))


def swin_t() -> Source:
    """Swin-T: shifted windows, relative position bias."""
    from transformers import SwinConfig, SwinForImageClassification

    return image_model(SwinForImageClassification(_thousand_classes(SwinConfig())))


def convnext_t() -> Source:
    """ConvNeXt-T with layer scale of a size that matters."""
    import torch
    from transformers import ConvNextConfig, ConvNextForImageClassification

    model = ConvNextForImageClassification(_thousand_classes(ConvNextConfig()))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("layer_scale_parameter"):
                parameter.uniform_(0.1, 0.5)
    return image_model(model)


def efficientnet_lite0() -> Source:
    """EfficientNet-lite0 with its trained weights and TensorFlow's "same" padding."""
    import torch

    model = load_timm().create_model("tf_efficientnet_lite0")
    weights = torch.load(zoo.path("efficientnet_lite0_weights"), map_location="cpu", weights_only=True)
    own = model.state_dict()
    # The package spells the names differently, but both list the layers in the same order.
    renamed = dict(zip(own, weights.values(), strict=True))
    model.load_state_dict(renamed)
    return image_model(model)


def minilm(output: str = "sentence_embedding") -> Source:
    """MiniLM-L6-v2 with its trained weights: mean pooling over the mask, then unit length."""
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    bert = BertModel(
        BertConfig(
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            vocab_size=30522,
        ),
        add_pooling_layer=False,
    )
    weights = load_file(str(zoo.path("minilm_weights")))
    missing, _ = bert.load_state_dict(weights, strict=False)
    if missing:
        raise RuntimeError(f"MiniLM weights lack {missing}")
    bert.eval()

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(pooled, dim=-1)

    return Source(Encoder().eval(), text_feeds(30522, 24, 7), [output], {**TEXT_AXES, output: {0: "batch"}})


def minilm_invalid() -> Source:
    """MiniLM whose output name collides with a value inside the dynamo graph: not valid ONNX."""
    return minilm(output="embedding")


def bert_base() -> Source:
    """BERT-base with pooler."""
    from transformers import BertConfig, BertModel

    results = {"last_hidden_state": "last_hidden_state", "pooled": "pooler_output"}
    axes = {"last_hidden_state": {0: "batch", 1: "sequence"}, "pooled": {0: "batch"}}
    return text_encoder(BertModel(BertConfig()), text_feeds(30522, 32, 5), results, axes)


def llama_6l() -> Source:
    """Llama, six layers of width 512, about 98 MiB."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=8,
        vocab_size=6400,
        max_position_embeddings=1024,
    )
    return causal_model(LlamaForCausalLM(config), 6400)


def qwen2_4l() -> Source:
    """Qwen2-like: four layers, grouped queries, biased projections."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        vocab_size=4000,
        max_position_embeddings=1024,
    )
    model = Qwen2ForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("proj.bias"):
            parameter.data.normal_(0.0, 0.1)
    return causal_model(model, 4000)


def gpt_large() -> Source:
    """GPT-2 architecture of about 0.9 GB."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=1024, n_layer=16, n_head=16, vocab_size=16000, n_positions=1024)
    return causal_model(GPT2LMHeadModel(config), 16000)


def smollm2() -> Source:
    """SmolLM2-135M-Instruct with its weights, dequantised from Q4_1."""
    import torch
    from transformers import AutoModelForCausalLM

    weights = zoo.path("smollm2_weights")
    model = AutoModelForCausalLM.from_pretrained(str(weights.parent), gguf_file=weights.name, dtype=torch.float32)
    return causal_model(model, 49152)


def smollm2_4l() -> Source:
    """The first four layers of SmolLM2."""
    source = smollm2()
    decoder = source.module.model
    del decoder.model.layers[4:]
    decoder.config.num_hidden_layers = 4
    return source


def smollm2_cache() -> Source:
    """SmolLM2 with a key-value cache."""
    return cached_causal_model(smollm2().module.model, 49152)


def smollm2_4l_cache() -> Source:
    """The first four layers of SmolLM2 with a key-value cache."""
    return cached_causal_model(smollm2_4l().module.model, 49152)
