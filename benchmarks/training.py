"""Training: time of a step beside VoxelMorph's, how busy the network is, and the fives.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.training [step loader fives]
        [--size 64] [--rounds 5] [--threads 2] [--packages FOLDER]

"step" and "fives" compare with the official packages: `pip install --no-deps --target FOLDER
voxelmorph==0.2 icon_registration==1.1.9 footsteps tqdm`. Both sides take turns in each round, so
that other work on the machine slows both; seconds of the processor are given beside the clock's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from neuralreg.training.config.schema import Loss, Model
from neuralreg.training.configuration import read_configuration
from neuralreg.training.data.pairs import Batches
from neuralreg.training.data.toy_datasets import make_fives, make_volumes, recipes_folder
from neuralreg.training.loop.run import Run
from neuralreg.training.loop.tasks import split_pairs
from neuralreg.training.loop.validation import Validation
from neuralreg.training.losses.training_step import TrainingStep
from neuralreg.training.model.methods import build_model
from torch import nn

from benchmarks import RESULTS


def ours_step(shape: tuple[int, ...]) -> Callable[[dict], torch.Tensor]:
    backbone = {"name": "voxelmorph", "int_steps": 7, "int_downsize": 2}
    step = TrainingStep(
        build_model(Model.model_validate({"backbone": backbone}), shape),
        Loss.model_validate({"image": "ssd", "deformation": {"name": "gradient", "weight": 0.01}}),
    )
    optimizer = torch.optim.Adam(step.parameters(), 1e-4)
    return lambda batch: descend(optimizer, lambda: step(batch)["loss"])


def their_step(shape: tuple[int, ...]) -> Callable[[dict], torch.Tensor]:
    """As in the official train.py: mean squared error and the gradient of the velocity."""
    from Testing.support.authors_networks import voxelmorph_as

    features = [[16, 32, 32, 32], [32, 32, 32, 32, 32, 16, 16]]
    net, _ = voxelmorph_as(nb_unet_features=features, int_steps=7, int_downsize=2)(Path(), shape)
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)

    def loss(batch: dict) -> torch.Tensor:
        moved, flow = net(batch["moving"], batch["fixed"])
        smooth = sum(flow.diff(dim=a).square().mean() for a in (2, 3, 4)) / 3
        return (moved - batch["fixed"]).square().mean() + 0.01 * 2 * smooth

    return lambda batch: descend(optimizer, lambda: loss(batch))


def descend(optimizer: torch.optim.Optimizer, loss_of: Callable[[], torch.Tensor]) -> torch.Tensor:
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of()
    loss.backward()
    optimizer.step()
    return loss.detach()


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - used


def step(size: int, rounds: int) -> dict[str, object]:
    """Seconds of one training step, and their ratio in each round."""
    shape = (size,) * 3
    batch = {"fixed": torch.rand(1, 1, *shape), "moving": torch.rand(1, 1, *shape)}
    if not installed("voxelmorph"):
        return {"official": "not installed: see --packages"}
    sides = {"ours": ours_step(shape), "official": their_step(shape)}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, go in sides.items():
            found = timed(lambda go=go: go(batch))
            if number:  # the first one warms up
                spent[name].append(found)
    ratios = [o[1] / t[1] for o, t in zip(spent["ours"], spent["official"], strict=True)]
    return {
        "size": size,
        **{f"{n}_s": statistics.median(wall for wall, _ in s) for n, s in spent.items()},
        **{f"{n}_cpu_s": statistics.median(cpu for _, cpu in s) for n, s in spent.items()},
        "ratio_cpu": statistics.median(ratios),
    }


def loader(size: int, rounds: int) -> dict[str, object]:
    """Share of the time of a training in which the network works, at 96 samples per axis."""
    found: dict[str, object] = {"size": size}
    with tempfile.TemporaryDirectory() as place:
        make_volumes(Path(place), count=20, size=size)
        data = {
            "dataset": {"type": "unpaired", "size": [size] * 3, "augmentation": ["affine"],
                        "train": {"dir": f"{place}/train", "labeled": True}},
            "model": {"backbone": "voxelmorph"},
            "loss": {"image": "ssd", "label": "dice", "deformation": "gradient"},
        }  # fmt: skip
        config = Path(place) / "config.yaml"
        config.write_text(json.dumps(data))
        for workers in (0, 1):
            read = read_configuration([config], [f"dataset.workers={workers}"])
            pairs = split_pairs(read, "train", Path(place), training=True)
            model = build_model(read.model, read.dataset.shape)
            found[f"busy_percent_{workers}_workers"] = busy(
                TrainingStep(model, read.loss), Batches(pairs, 1, workers=workers), rounds
            )
    return found


def busy(step: nn.Module, batches: Batches, count: int) -> float:
    optimizer = torch.optim.Adam(step.parameters(), 1e-4)
    source = batches(0)
    first = next(source)  # starts what loads
    descend(optimizer, lambda: step(first)["loss"])
    waited = worked = 0.0
    for _ in range(count):
        start = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - start
        worked += timed(lambda batch=batch: descend(optimizer, lambda: step(batch)["loss"]))[0]
    return 100 * worked / (waited + worked)


def fives() -> dict[str, object]:
    """Both recipes, and the tutorial's scheme with the official package on the same pairs."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        make_fives(Path(place))
        dirs = [f"dataset.{split}.dir={place}/{split}" for split in ("train", "valid", "test")]
        for name in ("fives", "fives_mlp"):
            config = read_configuration(
                [recipes_folder() / f"{name}.yaml"], [*dirs, "training.pictures=0"]
            )
            folder = Path(place) / name
            wall, used = timed(lambda c=config, f=folder: Run(c, f).train())
            from neuralreg.training.results.predict import load_trained

            model = load_trained(config, folder, "cpu")
            found[name] = {"s": wall, "cpu_s": used, **judged(model, config)}
        config = read_configuration([recipes_folder() / "fives.yaml"], dirs)
        identity = nn.Module()
        identity.forward = lambda fixed, moving: lambda places: places  # type: ignore[method-assign]
        found["before"] = judged(identity, config)
        found["official"] = (
            official_fives(config)
            if installed("icon_registration")
            else "not installed: see --packages"
        )
    return found


def judged(model: nn.Module, config: object) -> dict[str, float]:
    """Dice of the ink and mean squared error of the test pairs."""
    pairs = split_pairs(config, "test", Path())
    step = TrainingStep(model, Loss.model_validate({"image": "ssd"}))
    figures = Validation(step, Batches(pairs, 16), torch.device("cpu"))()
    return {
        "dice": figures["dice"],
        "mse": figures["image/ssd"],
        "folding_percent": figures["folding_percent"],
    }


def official_fives(config: object) -> dict[str, object]:
    """GradientICON of the tutorial, trained on our batches for as many steps."""
    import icon_registration as icon
    from icon_registration import networks

    inner = icon.FunctionFromVectorField(networks.tallUNet2(dimension=2))
    for _ in range(3):
        inner = icon.TwoStepRegistration(
            icon.DownsampleRegistration(inner, dimension=2),
            icon.FunctionFromVectorField(networks.tallUNet2(dimension=2)),
        )
    net = icon.GradientICON(inner, icon.LNCC(sigma=4), lmbda=0.5)
    size = config.training.batch_size
    net.assign_identity_map([size, 1, *config.dataset.shape])
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), lr=config.training.optimizer.options["lr"])
    batches = Batches(split_pairs(config, "train", Path(), training=True), size)

    def learn() -> None:
        for epoch in range(config.training.epochs):
            for batch in batches(epoch):
                descend(optimizer, lambda b=batch: net(b["moving"], b["fixed"]).all_loss)

    wall, used = timed(learn)
    return {"s": wall, "cpu_s": used, **judged(_Official(net), config)}


class _Official(nn.Module):
    """Their network as a model of ours: y x from 0 to 1 as normalized coordinates x y."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.eval()

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> Callable:
        shape = [len(fixed), *self.net.input_shape[1:]]
        self.net.assign_identity_map(shape)
        places = self.net.regis_net(moving, fixed)(self.net.identity_map).flip(1)
        return lambda _: 2 * places - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["step", "loader", "fives"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--loader-size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--packages", help="folder with the official packages")
    options = parser.parse_args()
    if options.packages:
        sys.path.append(options.packages)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    parts = {
        "step": lambda: step(options.size, options.rounds),
        "loader": lambda: loader(options.loader_size, options.rounds),
        "fives": fives,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "training.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    for name in options.parts:
        found[name] = parts[name]()
        print(name, json.dumps(found[name], indent=2))
        path.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
