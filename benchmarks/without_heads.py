"""GoogLeNet and Inception-v3 without their auxiliary heads, as ``--model without_heads:googlenet`` finds them."""

import torchvision
from torch import nn


def googlenet() -> nn.Module:
    """Return GoogLeNet without auxiliary heads."""
    model: nn.Module = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False)
    return model


def inception_v3() -> nn.Module:
    """Return Inception-v3 without auxiliary heads."""
    model: nn.Module = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    return model
