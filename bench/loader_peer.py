"""timm's half of bench/loader, answering each line of standard input with a line of JSON.

    loader_peer.py FOLDER WORKERS

`load SIZE COUNT`: seconds and processor seconds of COUNT training images of SIZE pixels from a PyTorch DataLoader with
WORKERS processes, decoded by Pillow, with timm's transform for DeiT as its own prefetching loader takes it: 8-bit images,
normalised and erased on the device. `augment SIZE COUNT`: the same of RandAugment alone, on decoded images of SIZE pixels,
in this process.
"""
import json
import os
import sys
import time

import torch

register = torch.library.register_fake
# timm imports torchvision, whose operators a CPU build of torch may lack.
torch.library.register_fake = lambda name, *args, **kwargs: (
    (lambda function: function) if str(name).startswith("torchvision::") else register(name, *args, **kwargs)
)
import PIL.Image  # noqa: E402
import timm  # noqa: E402
from timm.data import ImageDataset, create_transform  # noqa: E402
from timm.data.auto_augment import rand_augment_transform  # noqa: E402

torch.set_num_threads(1)
folder, workers = sys.argv[1], int(sys.argv[2])
batch = 128
loaders = {}


def ticks(pid):
    """Processor seconds of a process: user and system."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def endless(size):
    transform = create_transform(
        size,
        is_training=True,
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        use_prefetcher=True,
    )
    loader = torch.utils.data.DataLoader(
        ImageDataset(folder, transform=transform),
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        drop_last=True,
    )
    while True:
        iterator = iter(loader)
        yield iterator, None
        for images in iterator:
            yield iterator, images


def load(size, count):
    if size not in loaders:
        loaders[size] = endless(size)
    stream = loaders[size]

    def take(batches):
        taken = 0
        while taken < batches:
            iterator, images = next(stream)
            taken += images is not None
        return iterator

    iterator = take(2 * workers + 1)  # what lies ready from before
    pids = [worker.pid for worker in iterator._workers] + [os.getpid()]
    before, started = sum(map(ticks, pids)), time.perf_counter()
    take(count // batch)
    took = {"seconds": time.perf_counter() - started, "processorSeconds": sum(map(ticks, pids)) - before}
    rest(pids[:-1])
    return took


def rest(pids):
    """Waits until the workers have filled their queues: they would go on beside whoever is timed next."""
    before = None
    while (now := sum(map(ticks, pids))) != before:
        before = now
        time.sleep(0.2)


def augment(size, count):
    names = [os.path.join(root, name) for root, _, files in os.walk(folder) for name in files][:32]
    images = [PIL.Image.open(name).convert("RGB").resize((size, size), PIL.Image.BICUBIC) for name in names]
    transform = rand_augment_transform(
        "rand-m9-mstd0.5-inc1", {"img_mean": (124, 116, 104), "interpolation": PIL.Image.BICUBIC}
    )
    before, started = ticks(os.getpid()), time.perf_counter()
    for index in range(count):
        transform(images[index % len(images)])
    return {"seconds": time.perf_counter() - started, "processorSeconds": ticks(os.getpid()) - before}


for line in sys.stdin:
    what, *numbers = line.split()
    versions = {"torch": torch.__version__, "timm": timm.__version__, "pillow": PIL.__version__}
    answer = {"load": load, "augment": augment}[what](*map(int, numbers)) if what != "versions" else versions
    print(json.dumps(answer), flush=True)
