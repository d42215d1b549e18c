"""Writes timm_volo.safetensors and timm_resnet.safetensors: small networks as timm saves them, and timm_logits.json, what timm
makes of two pictures with them, and of a larger one with the VOLO, whose position embedding is resized. Run by hand with
PyTorch, timm and safetensors; the tests only read what it wrote.
"""
import json
import os

import torch

register = torch.library.register_fake
# timm imports torchvision, whose operators a CPU build of torch may lack.
torch.library.register_fake = lambda name, *args, **kwargs: (
    (lambda function: function) if str(name).startswith("torchvision::") else register(name, *args, **kwargs)
)
from safetensors.torch import save_file  # noqa: E402
from timm.models.resnet import BasicBlock, ResNet  # noqa: E402
from timm.models.volo import VOLO  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(0)
networks = {
    "volo": VOLO(
        layers=(1, 1, 1), img_size=32, num_classes=5, stem_hidden_dim=8, embed_dims=(12, 24, 24), num_heads=(2, 3, 3),
        mlp_ratio=(3.0, 3.0, 3.0), post_layers=("ca", "ca"),
    ),
    "resnet": ResNet(BasicBlock, (1, 1, 2, 1), num_classes=5, channels=(4, 8, 8, 16)),
}
pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
images = ((pixels / 255 - mean) / deviation).permute(0, 3, 1, 2)
facts = {"pixels": pixels.flatten().tolist(), "shape": list(pixels.shape)}
for name, network in networks.items():
    network.train()
    for _ in range(3):  # running statistics that are not those of the start
        network(torch.randn(4, 3, 32, 32))
    network.eval()
    with torch.no_grad():
        facts[name] = network(images).flatten().tolist()
    save_file(network.state_dict(), os.path.join(here, f"timm_{name}.safetensors"))
large = torch.randint(0, 256, (1, 48, 48, 3), dtype=torch.uint8)
volo = networks["volo"]
position = volo.pos_embed.detach().permute(0, 3, 1, 2)
position = torch.nn.functional.interpolate(position, size=(3, 3), mode="bicubic", align_corners=False)
volo.pos_embed = torch.nn.Parameter(position.permute(0, 2, 3, 1))
with torch.no_grad():
    logits = volo(((large / 255 - mean) / deviation).permute(0, 3, 1, 2))
facts["large"] = {"pixels": large.flatten().tolist(), "shape": list(large.shape), "volo": logits.flatten().tolist()}
with open(os.path.join(here, "timm_logits.json"), "w") as file:
    json.dump(facts, file)
