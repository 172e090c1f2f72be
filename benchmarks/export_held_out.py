"""Architectures on which the cost model is judged and was never developed.

They were chosen before any of them was measured, for what the other models lack: other blocks, one image instead of two, other lengths.
Whoever changes the cost model looks at `costmodel_graphs.ZOO` and `EXPORTS` only; when one of these teaches something, it moves there
and another one takes its place. Weights are random.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from export_wrapping import Source, causal_model, image_model, load_timm, text_encoder, text_feeds  # noqa: E402

IMAGES = {
    "resnet18": 224,  # plain residual blocks
    "resnext50_32x4d": 224,  # grouped convolutions
    "regnety_004": 224,  # groups of eight channels, squeeze and excitation
    "efficientnet_b0": 240,  # SiLU, depthwise 5x5
    "mnasnet_100": 224,
    "ghostnet_100": 224,  # many small layers, concatenations
    "mobilenetv4_conv_small": 256,
    "repvgg_a0": 192,  # three branches, as it is trained
    "inception_v3": 299,  # 1x7 and 7x1
    "hrnet_w18_small": 192,  # parallel resolutions, resizes
    "mixer_s16_224": 224,  # products across patches
    "poolformer_s12": 224,  # average pooling instead of attention
    "mobilevit_xs": 256,  # convolutions and attention
    "convnextv2_atto": 224,  # global response normalisation
}


def _image_model(name: str, side: int) -> Callable[[], Source]:
    """What builds an image classifier of `timm` for one image."""

    def build() -> Source:
        return image_model(load_timm().create_model(name), side, batch=1)

    return build


def _encoder(model: Any, feeds: dict[str, Any]) -> Source:
    """Wrap a text encoder of `transformers`."""
    name = "last_hidden_state"
    return text_encoder(model, feeds, {name: name}, {name: {0: "batch", 1: "sequence"}})


def distilbert() -> Source:
    """DistilBERT, 96 tokens."""
    from transformers import DistilBertConfig, DistilBertModel

    return _encoder(DistilBertModel(DistilBertConfig()), text_feeds(30522, 96, 20))


def t5_small() -> Source:
    """The encoder of T5-small: relative position bias, RMS normalisation."""
    from transformers import T5Config, T5EncoderModel

    return _encoder(T5EncoderModel(T5Config()), text_feeds(32128, 40, 6))


def gpt2_6l() -> Source:
    """GPT-2, six of its layers."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return causal_model(GPT2LMHeadModel(GPT2Config(n_layer=6, vocab_size=8000)), 8000)


def whisper_tiny() -> Source:
    """The encoder of Whisper-tiny on ten seconds of sound: convolutions along time, attention of 500 frames."""
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=384,
        encoder_layers=4,
        encoder_attention_heads=6,
        encoder_ffn_dim=1536,
        max_source_positions=500,
    )
    encoder = WhisperEncoder(config).eval()

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_features: Any) -> Any:
            return self.encoder(input_features).last_hidden_state

    return Source(Encoder().eval(), {"input_features": torch.randn(1, 80, 1000)}, ["last_hidden_state"])


BUILDERS: dict[str, Callable[[], Source]] = {
    **{name.removesuffix("_224"): _image_model(name, side) for name, side in IMAGES.items()},
    "distilbert": distilbert,
    "t5_small": t5_small,
    "gpt2_6l": gpt2_6l,
    "whisper_tiny": whisper_tiny,
}
