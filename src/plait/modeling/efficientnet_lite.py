# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0, an image encoder: EfficientNet without squeeze-and-excitation, with ReLU6.

Tan and Le 2019, arXiv:1905.11946; the Lite variant is Google's (2020). Parameters are named as in
the PyTorch ports of the TensorFlow implementation, so that their published weights fit as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

BLOCKS = (
    # repeats, kernel, stride, expansion, channels in, channels out
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
EPSILON = 1e-3
MOMENTUM = 0.01


class SameConv2d(nn.Conv2d):  # type: ignore[misc]
    """A convolution padded as TensorFlow's "same": an odd pixel of padding goes right and below."""

    def forward(self, images: Any) -> Any:
        """Return [n, out, ceil(height / stride), ceil(width / stride)]."""
        padding = []
        for axis in (1, 0):
            size, kernel, stride = images.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            padding += [total // 2, total - total // 2]
        return F.conv2d(
            F.pad(images, padding), self.weight, self.bias, self.stride, groups=self.groups
        )


def _convolution(inside: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> Any:
    return SameConv2d(inside, out, kernel, stride=stride, groups=groups, bias=False)


def _norm(channels: int) -> Any:
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)


class Block(nn.Module):  # type: ignore[misc]
    """A mobile inverted bottleneck: expand, convolve each channel by itself, project."""

    def __init__(self, kernel: int, stride: int, expansion: int, inside: int, out: int) -> None:
        super().__init__()
        wide = inside * expansion
        if expansion != 1:
            self._expand_conv = _convolution(inside, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _convolution(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _convolution(wide, out, 1)
        self._bn2 = _norm(out)
        self.expands = expansion != 1
        self.skips = stride == 1 and inside == out

    def forward(self, images: Any) -> Any:
        """Return feature maps [n, out, height / stride, width / stride]."""
        found = images
        if self.expands:
            found = F.relu6(self._bn0(self._expand_conv(found)))
        found = F.relu6(self._bn1(self._depthwise_conv(found)))
        found = self._bn2(self._project_conv(found))
        return found + images if self.skips else found


class EfficientNetLite(nn.Module):  # type: ignore[misc]
    """The network: feature maps, and with `classes` above zero ImageNet's classifier on them."""

    width = 1280

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        self._conv_stem = _convolution(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks = []
        for repeats, kernel, stride, expansion, inside, out in BLOCKS:
            blocks.append(Block(kernel, stride, expansion, inside, out))
            blocks += [Block(kernel, 1, expansion, out, out) for _ in range(repeats - 1)]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _convolution(320, self.width, 1)
        self._bn1 = _norm(self.width)
        self._fc = nn.Linear(self.width, classes) if classes else None

    def forward(self, images: Any) -> Any:
        """Return maps [n, 1280, height / 32, width / 32] of pixels [n, 3, height, width]."""
        found = F.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            found = block(found)
        return F.relu6(self._bn1(self._conv_head(found)))

    def classify(self, images: Any) -> Any:
        """Return logits [n, classes] of pixels [n, 3, height, width]."""
        if self._fc is None:
            raise ValueError("This EfficientNet was made without its classifier.")
        return self._fc(self(images).mean(dim=(2, 3)))


def drop_classifier(weights: dict[str, Any]) -> dict[str, Any]:
    """Return the weights without those of the classifier."""
    return {name: value for name, value in weights.items() if not name.startswith("_fc.")}


def parameters_fit(weights: dict[str, Any], classes: int) -> None:
    """Raise if weights do not match the network one to one, naming a tensor."""
    with torch.device("meta"):
        wanted = EfficientNetLite(classes).state_dict()
    if different := sorted(set(wanted) ^ set(weights)):
        raise ValueError(f"EfficientNet-Lite0 and the weights differ in '{different[0]}'.")
    for name, value in wanted.items():
        if tuple(weights[name].shape) != tuple(value.shape):
            raise ValueError(
                f"'{name}' has the shape {tuple(weights[name].shape)}, EfficientNet-Lite0 needs "
                f"{tuple(value.shape)}."
            )
