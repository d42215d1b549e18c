"""A forward pass of a timm model by PyTorch: a line with the batch in, a line of JSON out."""
import json
import sys

import torch

# Without it torchvision's operators fail to register beside a PyTorch for processors alone.
register = torch.library.register_fake
torch.library.register_fake = lambda name, *rest, **more: (lambda f: f) if name.startswith("torchvision::") else register(name, *rest, **more)
import timm

name, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
model = timm.create_model(name).eval()
for line in sys.stdin:
    with torch.inference_mode():
        if line.strip() != "ready":
            model(torch.rand(int(line), 3, 224, 224))
    print(json.dumps({"done": True}), flush=True)
