"""PyTorch's half of bench/convolution: each line `BATCH SIDE IN OUT KERNEL STRIDE PADDING LAYOUT` is answered with the
seconds of a convolution and of its gradients, those of the images left out where they have three channels; an empty one
with the version. Two threads.
"""
import json
import sys
import time

import torch

torch.set_num_threads(2)
known = {}


def make(batch, side, channels, out, kernel, stride, padding, layout):
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    x = torch.randn(batch, channels, side, side).contiguous(memory_format=order).requires_grad_(channels != 3)
    weight = torch.randn(out, channels, kernel, kernel).contiguous(memory_format=order).requires_grad_()

    def forward():
        return torch.nn.functional.conv2d(x, weight, stride=stride, padding=padding)

    dy = torch.randn_like(forward())
    return forward, dy, [tensor for tensor in (x, weight) if tensor.requires_grad]


for line in sys.stdin:
    if line == "\n":
        print(json.dumps({"version": torch.__version__}), flush=True)
        continue
    if line not in known:
        if len(known) == 2:  # both layouts of the convolution before
            known.clear()
        *sizes, layout = line.split()
        forward, dy, wanted = known[line] = make(*map(int, sizes), layout)
        torch.autograd.grad(forward(), wanted, dy)
    forward, dy, wanted = known[line]
    start = time.perf_counter()
    y = forward()
    middle = time.perf_counter()
    torch.autograd.grad(y, wanted, dy)
    end = time.perf_counter()
    print(json.dumps({"forward": middle - start, "backward": end - middle}), flush=True)
