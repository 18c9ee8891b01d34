"""The network in PyTorch, with the names that Protoguard's files use.

Written for speed as a PyTorch user would: in-place ReLU, no needless copies.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import fusion


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Pair(nn.Module):
    """[conv, BN, ReLU] twice, or without BN and ReLU after the second."""

    def __init__(self, inputs, outputs, bare_end=False):
        super().__init__()
        self.conv1, self.norm1 = conv(inputs, outputs), nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs)
        self.norm2 = None if bare_end else nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = F.relu_(self.norm1(self.conv1(x)))
        x = self.conv2(x)
        return x if self.norm2 is None else F.relu_(self.norm2(x))

    def fold(self):
        """Puts BatchNorm into the convolutions, for inference."""
        self.conv1 = fusion.fuse_conv_bn_eval(self.conv1, self.norm1)
        self.norm1 = nn.Identity()
        if self.norm2 is not None:
            self.conv2 = fusion.fuse_conv_bn_eval(self.conv2, self.norm2)
            self.norm2 = nn.Identity()


class Stage(Pair):
    """An up-convolution and a pair, with or without a skip between them."""

    def __init__(self, outputs, skip):
        super().__init__(2 * outputs if skip else outputs, outputs)
        self.up = nn.ConvTranspose2d(2 * outputs, outputs, 3, 2, 1, 1)
        self.up_norm = nn.BatchNorm2d(outputs)

    def forward(self, x, skip=None):
        x = F.relu_(self.up_norm(self.up(x)))
        return super().forward(x if skip is None else torch.cat([skip, x], 1))

    def fold(self):
        super().fold()
        self.up = fusion.fuse_conv_bn_eval(self.up, self.up_norm, transpose=True)
        self.up_norm = nn.Identity()


def decoder(width, skip, outputs):
    blocks = {"4": Pair(8 * width, 8 * width)}
    for level, channels in (("3", 4 * width), ("2", 2 * width), ("1", width)):
        blocks[level] = Stage(channels, skip)
    blocks["last"] = conv(width, outputs)
    return nn.ModuleDict(blocks)


class Network(nn.Module):
    def __init__(self, past, width, items):
        super().__init__()
        self.encoder = nn.ModuleDict(
            {
                "1": Pair(3 * past, width),
                "2": Pair(width, 2 * width),
                "3": Pair(2 * width, 4 * width),
                "4": Pair(4 * width, 8 * width, bare_end=True),
            }
        )
        self.prediction = decoder(width, True, 3)
        self.motion = decoder(width, False, 3 * past)
        self.memory = nn.Module()
        self.memory.register_buffer("items", torch.empty(items, 8 * width))

    def encode(self, x):
        skips = []
        for level in "123":
            skips.append(self.encoder[level](x))
            x = F.max_pool2d(skips[-1], 2)
        return self.encoder["4"](x), skips

    def decode(self, blocks, x, skips):
        x = blocks["4"](x)
        for level in "321":
            x = blocks[level](x, skips[int(level) - 1]) if skips else blocks[level](x)
        return blocks["last"](x)

    def fold(self):
        """Puts BatchNorm into the convolutions, for inference."""
        for block in self.modules():
            if isinstance(block, Pair):
                block.fold()
        return self


def unit(q):
    """Rows of length 1."""
    return q / q.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def of_checkpoint(tensors):
    """The network with a file's weights; what else the file holds is left alone."""
    width, past = tensors["encoder.1.conv1.weight"].shape[:2]
    network = Network(past // 3, width, tensors["memory.items"].shape[0])
    names = network.state_dict().keys()
    missing = network.load_state_dict({n: t for n, t in tensors.items() if n in names}, strict=False)
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys), missing
    return network
