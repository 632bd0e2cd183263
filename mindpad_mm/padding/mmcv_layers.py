"""MMDetection's own kinds of convolution, each with the way padding enters it."""

from __future__ import annotations

from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from mmcv.cnn.bricks.wrappers import Conv2d
from mmdet.models.layers.normed_predictor import NormedConv2d
from torch import Tensor, nn

from mindpad_mm.padding.layers import PaddedConv, layer_windows, pads_for
from mindpad_mm.padding.windows import Pads

# Their forward ends in nn.Conv2d._conv_forward, where PaddedConv stands.
pads_for(Conv2d.forward, NormedConv2d.forward)(PaddedConv)


@pads_for(ConvWS2d.forward)
class PaddedConvWS(PaddedConv):
    """``ConvWS2d`` (weight standardisation) over a map continued by a mode."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        std = self.weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / (std + self.eps), self.bias)


@pads_for(ConvAWS2d.forward)
class PaddedConvAWS(PaddedConv):
    """``ConvAWS2d`` (adaptive weight standardisation) over a map continued by a mode."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self._get_weight(self.weight), self.bias)


@pads_for(Conv2dAdaptivePadding.forward)
class PaddedAdaptiveConv(PaddedConv):
    """``Conv2dAdaptivePadding`` (TensorFlow's "same": ceil(size / stride) windows) with a mode."""

    @classmethod
    def pads_of(cls, layer: nn.Module) -> Pads | None:
        return None

    def pads_at(self, height: int, width: int) -> Pads:
        pads = []
        for size, window in zip((height, width), layer_windows(self)):
            total = max(window.spans(-(-size // window.stride)) - size, 0)
            pads += [total // 2, total - total // 2]
        return tuple(pads)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight, self.bias)
