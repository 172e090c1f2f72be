"""PyTorch modules of real architectures, ready to be exported, with example feeds and dynamic axes.

Weights are random (seed them before the call) except where a package ships them: MiniLM,
EfficientNet-lite0 and SmolLM2. See `exports.py` for what has to be installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import zoo  # noqa: E402


@dataclass
class Source:
    """A PyTorch module ready to be exported.

    Attributes:
        module: in evaluation mode, returns one tensor or a tuple of tensors.
        feeds: name to example tensor, in the order of the module's positional arguments.
        outputs: names of the outputs, in order.
        axes: name of an input or output to its dynamic axes, axis to dimension name.
        variadic: name of the module's last parameter when it takes all further feeds as ``*name``.
    """

    module: Any
    feeds: dict[str, Any]
    outputs: list[str]
    axes: dict[str, dict[int, str]] = field(default_factory=dict)
    variadic: str = ""

    def dynamic_shapes(self) -> dict[str, Any]:
        """The dynamic axes by parameter of the module, as the dynamo exporter wants them."""
        shapes: dict[str, Any] = {feed: self.axes.get(feed, {}) for feed in self.feeds}
        if self.variadic:
            own = [feed for feed in self.feeds if not feed.startswith(f"{self.variadic}.")]
            rest = tuple(shapes[feed] for feed in self.feeds if feed not in own)
            shapes = {**{feed: shapes[feed] for feed in own}, self.variadic: rest}
        return shapes


class _Placeholder(type):
    """Stands for any class, function or enumerator of torchvision; no export ever calls it.

    Each attribute is a placeholder of its own, because `timm` uses enumerators as dictionary keys.
    """

    def __getattr__(cls, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        setattr(cls, attribute, _Placeholder(attribute, (), {}))
        return cls.__dict__[attribute]


class _StubModule(types.ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        setattr(self, attribute, _Placeholder(attribute, (), {}))
        return self.__dict__[attribute]


class _StubTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets `timm` be imported without torchvision, of which its models use nothing."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if fullname == "torchvision" or fullname.startswith("torchvision."):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _StubModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def load_timm() -> Any:
    """Import `timm`, with a stub where torchvision is missing."""
    import transformers  # noqa: F401  (probes for torchvision itself; must not see the stub)

    if importlib.machinery.PathFinder.find_spec("torchvision") is None:
        sys.meta_path.append(_StubTorchvision())
    import timm

    return timm


def image_model(model: Any, side: int = 224, batch: int = 2) -> Source:
    """Wrap an image classifier; batch normalisations get statistics of random images."""
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            result = self.model(pixel_values)
            return result if isinstance(result, torch.Tensor) else result.logits

    images = torch.randn(batch, 3, side, side)
    norms = [child for child in model.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    means = [norm.running_mean for norm in norms if norm.running_mean is not None]
    if means and not any(bool(mean.any()) for mean in means):
        with torch.no_grad():
            for norm in norms:
                norm.momentum = None
                norm.train()
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(0.0, 0.1)
            model(torch.randn(4, 3, side, side))
    model.eval()
    return Source(
        Classifier().eval(),
        {"pixel_values": images},
        ["logits"],
        {"pixel_values": {0: "batch"}, "logits": {0: "batch"}},
    )


def text_feeds(vocabulary: int, length: int, padded: int) -> dict[str, Any]:
    """Two token rows, the second one padded at its end by `padded` positions."""
    import torch

    tokens = torch.randint(10, vocabulary, (2, length))
    mask = torch.ones(2, length, dtype=torch.int64)
    if padded:
        tokens[1, -padded:] = 0
        mask[1, -padded:] = 0
    return {"input_ids": tokens, "attention_mask": mask}


TEXT_AXES = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "sequence"}}


def causal_model(model: Any, vocabulary: int) -> Source:
    """Wrap a causal language model without a key-value cache."""
    import torch

    model.eval()

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits

    return Source(
        Decoder().eval(),
        text_feeds(vocabulary, 16, 0),
        ["logits"],
        {**TEXT_AXES, "logits": {0: "batch", 1: "sequence"}},
    )


def _cached_causal_model(model: Any, vocabulary: int) -> Source:
    """Wrap a causal language model whose keys and values of earlier tokens come in and go out.

    Inputs are `input_ids` and `position_ids` ``[batch, sequence]``, `attention_mask` ``[batch, past + sequence]`` and, for each layer,
    `past_key_values.N.key` and `.value` ``[batch, heads, past, size]``; outputs are `logits` and `present.N.key` and `.value`.
    """
    import torch
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    model.eval()
    config = model.config
    layers, heads = config.num_hidden_layers, config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    class CachedDecoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, *past_key_values: Any) -> Any:
            cache = DynamicCache()
            for keys, values in zip(past_key_values[::2], past_key_values[1::2], strict=True):
                layer = DynamicLayer()
                layer.keys, layer.values = keys, values
                layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
                cache.layers.append(layer)
            result = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=True,
            )
            return (result.logits, *(tensor for layer in cache.layers for tensor in (layer.keys, layer.values)))

    past, sequence, batch = 5, 3, 2
    feeds = {
        "input_ids": torch.randint(10, vocabulary, (batch, sequence)),
        "attention_mask": torch.ones(batch, past + sequence, dtype=torch.int64),
        "position_ids": torch.arange(past, past + sequence).expand(batch, sequence).clone(),
    }
    axes = {
        "input_ids": {0: "batch", 1: "sequence"},
        "attention_mask": {0: "batch", 1: "total"},
        "position_ids": {0: "batch", 1: "sequence"},
        "logits": {0: "batch", 1: "sequence"},
    }
    outputs = ["logits"]
    for layer in range(layers):
        for part in ("key", "value"):
            name, result = f"past_key_values.{layer}.{part}", f"present.{layer}.{part}"
            feeds[name] = torch.randn(batch, heads, past, size)
            axes[name] = {0: "batch", 2: "past"}
            axes[result] = {0: "batch", 2: "total"}
            outputs.append(result)
    return Source(CachedDecoder().eval(), feeds, outputs, axes, "past_key_values")


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
    import torch
    from transformers import BertConfig, BertModel

    bert = BertModel(BertConfig()).eval()

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            result = self.bert(input_ids=input_ids, attention_mask=attention_mask)
            return result.last_hidden_state, result.pooler_output

    outputs = {"last_hidden_state": {0: "batch", 1: "sequence"}, "pooled": {0: "batch"}}
    return Source(Encoder().eval(), text_feeds(30522, 32, 5), list(outputs), {**TEXT_AXES, **outputs})


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
    return _cached_causal_model(smollm2().module.model, 49152)


def smollm2_4l_cache() -> Source:
    """The first four layers of SmolLM2 with a key-value cache."""
    return _cached_causal_model(smollm2_4l().module.model, 49152)
