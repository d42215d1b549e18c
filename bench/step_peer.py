"""PyTorch's half of bench/step: a full training step with fused AdamW, in the protocol of step-worker.ts.

    step_peer.py MODEL BATCH RESOLUTION DEVICE PRECISION eager|compile|eager-channels-last|compile-channels-last

On the processor it has two threads. In bf16 and fp16 it runs under autocast, in fp16 with a gradient scaler; in fp32 all
products are exact, convolutions included. Images lie on the device already. On a GPU cuDNN tries out its algorithms. Ends
with status 77 where PyTorch or timm is missing.
"""
import json
import resource
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(77)

if not torch.cuda.is_available():
    register = torch.library.register_fake
    # timm imports torchvision, whose operators a CPU build of torch may lack.
    torch.library.register_fake = lambda name, *args, **kwargs: (
        (lambda function: function) if str(name).startswith("torchvision::") else register(name, *args, **kwargs)
    )
try:
    import timm
except ImportError:
    sys.exit(77)

torch.set_num_threads(2)
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = False
name, batch, resolution = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
device, precision, mode = sys.argv[4], sys.argv[5], sys.argv[6]
layout = torch.channels_last if mode.endswith("channels-last") else torch.contiguous_format
cuda = device.startswith("cuda")
# A convolutional network takes any size.
size = {} if name.startswith("resnet") else {"img_size": resolution}
model = timm.create_model(name, **size).train().to(device, memory_format=layout)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
images = torch.randn(batch, 3, resolution, resolution, device=device).contiguous(memory_format=layout)
targets = (torch.arange(batch) % 1000).to(device)
criterion = torch.nn.CrossEntropyLoss()
labels_tokens = name.startswith("volo")
if labels_tokens:
    tokens = (resolution // 16) ** 2
    token_targets = torch.full((batch * tokens, 1000), 1 / 1000, device=device)
low = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
scaler = torch.amp.GradScaler(device.split(":")[0], enabled=precision == "fp16")
network = model.forward_train if labels_tokens else model
forward = torch.compile(network) if mode.startswith("compile") else network


def loss_of(outputs):
    if not labels_tokens:
        return criterion(outputs, targets)
    classes, tokens, (top, left, bottom, right) = outputs  # MixToken's box, drawn by timm
    kept = 1 - (bottom - top) * (right - left) / tokens.shape[1]
    mixed = kept * criterion(classes, targets) + (1 - kept) * criterion(classes, targets.flip(0))
    return mixed + 0.5 * criterion(tokens.reshape(-1, 1000), token_targets)


def step():
    optimizer.zero_grad()
    with torch.autocast(device.split(":")[0], dtype=low or torch.bfloat16, enabled=low is not None):
        loss = loss_of(forward(images))
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def finish():
    if cuda:
        torch.cuda.synchronize()


for line in sys.stdin:
    command, _, count = line.strip().partition(" ")
    if command == "warm":
        for _ in range(10 if cuda else 2):
            step()
        finish()
        print("{}", flush=True)
    elif command == "go":
        start = time.perf_counter()
        for _ in range(int(count)):
            step()
        finish()
        print(json.dumps({"seconds": (time.perf_counter() - start) / int(count)}), flush=True)
    else:
        peak = torch.cuda.max_memory_reserved() / 2**20 if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"peakMegabytes": peak, "version": torch.__version__}), flush=True)
        break
