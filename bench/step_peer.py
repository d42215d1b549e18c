"""PyTorch's half of bench/step: eager float32, fused AdamW, two threads. Same protocol as step-worker.ts."""
import json
import resource
import sys
import time

import torch

register = torch.library.register_fake
# timm imports torchvision, whose operators a CPU build of torch may lack.
torch.library.register_fake = lambda name, *args, **kwargs: (
    (lambda function: function) if str(name).startswith("torchvision::") else register(name, *args, **kwargs)
)
import timm  # noqa: E402

torch.set_num_threads(2)
name, batch, resolution = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = timm.create_model(name, img_size=resolution).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
images = torch.randn(batch, 3, resolution, resolution)
targets = torch.arange(batch) % 1000
criterion = torch.nn.CrossEntropyLoss()


def step():
    optimizer.zero_grad()
    criterion(model(images), targets).backward()
    optimizer.step()


for line in sys.stdin:
    command = line.strip()
    if command == "warm":
        step()
        step()
        print("{}", flush=True)
    elif command == "go":
        start = time.perf_counter()
        step()
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"peakMegabytes": peak, "version": torch.__version__}), flush=True)
        break
