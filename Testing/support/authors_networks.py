"""The authors' own code of each network, called as ours is: what `networks.py` compares with.

Nothing of it is part of this repository. A folder holds checkouts, each under the name of its
repository (LapIRN, Conditional_LapIRN, DIRAC, LKU-Net, anatomix, TransMorph_Transformer_for_… and
Fast-Symmetric-…); VoxelMorph and GradICON are installed packages (`pip install --no-deps
voxelmorph==0.2 icon_registration==1.1.9 unigradicon==1.0.6 footsteps tqdm`). What the authors
import besides torch and the networks do not need is replaced by an empty module, and `cuda` by
nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from neuralreg.networks import (
    anatomix,
    conditional_lapirn,
    dirac,
    gradicon,
    lapirn,
    lku_net,
    symnet,
    transmorph,
    voxelmorph,
)
from torch import Tensor, nn

SYMNET = "Fast-Symmetric-Diffeomorphic-Image-Registration-with-Convolutional-Neural-Networks"
TRANSMORPH = "TransMorph_Transformer_for_Medical_Image_Registration/TransMorph"
_VOXELMORPH_WANTS = ("neurite", "h5py", "nibabel", "skimage", "skimage.measure", "pystrum")
_VOXELMORPH_WANTS += ("pystrum.pynd", "pystrum.pynd.ndutils")
Run = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Network:
    """One architecture: ours, how to make theirs, the size that it is published for.

    theirs: takes the folder and a shape, gives the module that owns the authors' state dict, and
    what registers fixed and moving with it, in our output convention. both: the same for both
    directions one after the other as channels, where the authors do not just run it twice.
    gentle: see `Testing.support.seeded`.
    """

    ours: Callable[[], nn.Module]
    theirs: Callable[[Path, tuple[int, ...]], tuple[nn.Module, Run]]
    native: tuple[int, ...]
    small: tuple[int, ...]
    gentle: dict[str, float] = field(default_factory=dict)
    both: Callable[[Path, tuple[int, ...]], tuple[nn.Module, Run]] | None = None


class _Anything(types.ModuleType):
    """A module in which every name exists and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return mock.MagicMock() if not name.startswith("__") else None


@contextlib.contextmanager
def on_this_machine() -> Iterator[None]:
    """`cuda` does nothing, since the authors call it everywhere."""
    with (
        mock.patch.object(torch.Tensor, "cuda", lambda self, *_, **__: self),
        mock.patch.object(nn.Module, "cuda", lambda self, *_, **__: self),
    ):
        yield


def module_of(folder: Path, name: str) -> Any:
    """A module of a checkout. Modules of the same name from other checkouts are forgotten."""
    for known in [m for m in sys.modules if m.split(".")[0] in ("Functions", "Models", "models")]:
        del sys.modules[known]
    absent = ("nibabel", "medpy", "medpy.io", "matplotlib", "matplotlib.pyplot", "scipy.ndimage")
    absent += ("ml_collections", "timm", "timm.models", "timm.models.layers", "huggingface_hub")
    stand_ins = {n: _Anything(n) for n in absent if n not in sys.modules}
    layers = stand_ins.get("timm.models.layers", _Anything("layers"))
    layers.DropPath = lambda *_: nn.Identity()  # type: ignore[attr-defined]
    layers.to_3tuple = lambda n: (n, n, n)  # type: ignore[attr-defined]
    layers.trunc_normal_ = nn.init.trunc_normal_  # type: ignore[attr-defined]
    stand_ins.get("ml_collections", layers).ConfigDict = types.SimpleNamespace  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, stand_ins), mock.patch.object(sys, "path", sys.path.copy()):
        sys.path.insert(0, str(folder))
        return importlib.import_module(name)


def _pyramid(code: Any, stem: str, start: int, shape: tuple[int, ...], **more: Any) -> nn.Module:
    sizes = [tuple(n // divide for n in shape) for divide in (4, 2, 1)]
    level, d = None, len(shape)
    for number, size in enumerate(sizes, start=1):
        coarser = {f"model_lvl{number - 1}": level} if level is not None else {}
        kind = getattr(code, f"{stem}_lvl{number}")
        level = kind(2, d, start, is_train=number < 3, imgshape=size, **coarser, **more)
    assert level is not None
    return level


def lapirn_as(stem: str) -> Callable[[Path, tuple[int, ...]], tuple[nn.Module, Run]]:
    def make(folder: Path, shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
        code = module_of(folder / "LapIRN" / "Code", "miccai2020_model_stage")
        net = _pyramid(code, f"Miccai2020_LDR_laplacian_unit_{stem}", 7, shape)
        return net, lambda fixed, moving: net(moving, fixed)

    return make


def conditional_as(
    file: str, start: int
) -> Callable[[Path, tuple[int, ...]], tuple[nn.Module, Run]]:
    def make(folder: Path, shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
        code = module_of(folder / "Conditional_LapIRN" / "Code", file)
        net = _pyramid(code, "Miccai2021_LDR_conditional_laplacian_unit_disp_add", start, shape)
        return net, lambda fixed, moving: net(moving, fixed, torch.tensor([[0.1]]))

    return make


def dirac_of(folder: Path, shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
    code = module_of(folder / "DIRAC" / "Code", "bratsreg_model_stage")
    net = _pyramid(code, "Miccai2021_LDR_laplacian_unit_disp_add_AdaIn", 6, shape, num_block=5)
    return net, lambda fixed, moving: net(moving, fixed, torch.tensor([[0.3]]))


def symnet_of(folder: Path, shape: tuple[int, ...], both: bool = False) -> tuple[nn.Module, Run]:
    """One direction, or both, as the authors' test program computes them."""
    code = module_of(folder / SYMNET / "Code", "Models")
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None]
    net, compose = code.SYMNet(2, 3, 7), code.CompositionTransform()
    flow = code.DiffeomorphicTransform(time_step=7)

    def met(there: Tensor, back: Tensor) -> Tensor:
        return compose(flow(there, grid, 100), flow(-back, grid, 100), grid, 100) * 100

    def run(fixed: Tensor, moving: Tensor) -> Tensor:
        first, second = net(fixed, moving)
        return torch.cat(
            (met(second, first), met(first, second)) if both else (met(second, first),), 1
        )

    return net, run


def lku_net_of(folder: Path, _shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
    code = module_of(folder / "LKU-Net" / "LKU-Net_3D_IXI", "Models")
    net, flow = code.UNet(2, 3, 4), code.DiffeomorphicTransform()
    return net, lambda fixed, moving: flow(net(moving, fixed))


def lku_net_2d_of(folder: Path, _shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
    code = module_of(folder / "LKU-Net" / "LKU-Net_2D_OASIS", "Models")
    net = code.UNet(2, 2, 8)
    return net, lambda fixed, moving: net(moving, fixed)


def gradicon_of(_folder: Path, shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
    from icon_registration import network_wrappers as wrappers
    from icon_registration import networks

    def field() -> nn.Module:
        return wrappers.FunctionFromVectorField(networks.tallUNet2(dimension=3))

    def coarse_first(inner: nn.Module) -> nn.Module:
        small = wrappers.DownsampleRegistration(inner, dimension=3)
        return wrappers.TwoStepRegistration(small, field())

    net = wrappers.TwoStepRegistration(coarse_first(coarse_first(field())), field())
    net.assign_identity_map([1, 1, *shape])

    def run(fixed: Tensor, moving: Tensor) -> Tensor:
        net.identity_map.isIdentity = True
        return net(moving, fixed)(net.identity_map)

    return net, run


def gradicon_package(folder: Path, shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
    """Both directions, as the package of uniGradICON computes them: with the losses."""
    with mock.patch.dict(sys.modules, {"itk": _Anything("itk")}):
        import icon_registration
        import unigradicon
    net, _ = gradicon_of(folder, shape)
    loss = icon_registration.LNCC(sigma=5)
    package = unigradicon.GradientICONSparse(net, loss, lmbda=1.5)
    package.assign_identity_map([1, 1, *shape])

    def run(fixed: Tensor, moving: Tensor) -> Tensor:
        package(moving, fixed)
        return torch.cat((package.phi_AB_vectorfield, package.phi_BA_vectorfield), 1)

    return net, run


def voxelmorph_as(**options: Any) -> Callable[[Path, tuple[int, ...]], tuple[nn.Module, Run]]:
    def make(_folder: Path, shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
        os.environ["VXM_BACKEND"] = "pytorch"
        stand_ins = {n: _Anything(n) for n in _VOXELMORPH_WANTS}
        stand_ins["neurite"].__version__ = "0.2"  # type: ignore[attr-defined]
        # It asks for a function that Python no longer has.
        old = mock.patch.object(
            inspect, "getargspec", lambda f: inspect.getfullargspec(f)[:4], create=True
        )
        with mock.patch.dict(sys.modules, stand_ins), old:
            from voxelmorph.torch.networks import VxmDense
        net = VxmDense(shape, **options)
        return net, lambda fixed, moving: net(moving, fixed, registration=True)[1]

    return make


def transmorph_as(config: str) -> Callable[[Path, tuple[int, ...]], tuple[nn.Module, Run]]:
    def make(folder: Path, shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
        code = module_of(folder / TRANSMORPH, "models.TransMorph")
        settings = getattr(code.configs, config)()
        settings.img_size = shape
        net = code.TransMorph(settings)
        return net, lambda fixed, moving: net(torch.cat((moving, fixed), 1))[1]

    return make


def anatomix_of(folder: Path, _shape: tuple[int, ...]) -> tuple[nn.Module, Run]:
    with contextlib.redirect_stdout(io.StringIO()):
        code = module_of(folder / "anatomix", "anatomix.model.network")
        net = code.Unet(dimension=3, input_nc=1, output_nc=16, num_downs=4, ngf=16)
    return net, lambda fixed, _moving: net(fixed)


BRAIN, SMALL = (160, 192, 224), (32, 48, 64)
_LAST = {"output_lvl1.2": 0.3}
_FLOW = {"flow.": 15.0}
_VELOCITY = {"dc9": 0.15, "dc10": 0.15}
NETWORKS = {
    "lapirn_disp": Network(lapirn.build, lapirn_as("disp_add"), (160, 192, 144), SMALL, _LAST),
    "lapirn_diff": Network(
        lambda: lapirn.build(diffeomorphic=True), lapirn_as("add"), (160, 192, 144), SMALL, _LAST
    ),
    "conditional_lapirn": Network(
        conditional_lapirn.build, conditional_as("miccai2021_model_lite", 4), BRAIN, SMALL, _LAST
    ),
    "conditional_lapirn_2d": Network(
        lambda: conditional_lapirn.build(((16,) * 4,) * 3, dimension=2),
        conditional_as("miccai2021_model_2D", 4),
        (160, 192),
        (48, 64),
        _LAST,
    ),
    "dirac": Network(dirac.build, dirac_of, (160, 160, 80), SMALL, _LAST),
    "symnet": Network(
        symnet.build, symnet_of, BRAIN, SMALL, _VELOCITY, partial(symnet_of, both=True)
    ),
    "lku_net": Network(lku_net.build, lku_net_of, BRAIN, SMALL, {"dc9": 0.1}),
    "lku_net_2d": Network(
        lambda: lku_net.build(8, kernel=7, dimension=2, diffeomorphic=False),
        lku_net_2d_of,
        (160, 192),
        (48, 64),
        {"dc9": 0.3},
    ),
    "gradicon": Network(
        gradicon.build,
        gradicon_of,
        (175, 175, 175),
        (75, 75, 75),
        {"lastConv.weight": 0.3},
        gradicon_package,
    ),
    "voxelmorph": Network(
        voxelmorph.build, voxelmorph_as(int_steps=7, int_downsize=2), BRAIN, SMALL, _FLOW
    ),
    "voxelmorph_half": Network(
        lambda: voxelmorph.build(half_res=True),
        voxelmorph_as(unet_half_res=True),
        BRAIN,
        SMALL,
        _FLOW,
    ),
    "voxelmorph_2d": Network(
        lambda: voxelmorph.build(2, int_steps=0),
        voxelmorph_as(int_steps=0),
        (160, 192),
        (48, 64),
        _FLOW,
    ),
    "transmorph_small": Network(
        lambda: transmorph.build(48, heads=(4, 4, 4, 4)),
        transmorph_as("get_3DTransMorphSmall_config"),
        BRAIN,
        (64, 64, 96),
    ),
    "transmorph": Network(
        transmorph.build, transmorph_as("get_3DTransMorph_config"), BRAIN, (64, 64, 96)
    ),
    "anatomix": Network(anatomix.build, anatomix_of, (128, 128, 128), SMALL, {}),
}
