"""What makes PyTorch modules ready to be exported: example feeds, dynamic axes, wrappers with positional arguments."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


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


def text_encoder(model: Any, feeds: dict[str, Any], results: dict[str, str], axes: dict[str, dict[int, str]]) -> Source:
    """Wrap a text encoder.

    Args:
        model: takes `input_ids` and `attention_mask`.
        feeds: these.
        results: names of outputs to attributes of the model's result.
        axes: of the outputs.
    """
    import torch

    model.eval()

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            found = self.model(input_ids=input_ids, attention_mask=attention_mask)
            chosen = tuple(getattr(found, name) for name in results.values())
            return chosen if len(chosen) > 1 else chosen[0]

    return Source(Encoder().eval(), feeds, list(results), {**TEXT_AXES, **axes})


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


def cached_causal_model(model: Any, vocabulary: int) -> Source:
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
