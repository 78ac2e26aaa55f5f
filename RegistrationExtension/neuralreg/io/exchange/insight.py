"""ITK, ANTs and 3D Slicer: transform files and images of displacements, fixed to moving, LPS mm.

What SimpleITK does not read is read here: splines of ITK 3 (BSplineDeformableTransform, with the
bulk transform of BRAINSFit), splines between points, and old rigid transforms.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, RegistrationError, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.io.exchange.integration import integrate
from neuralreg.io.exchange.matrices import from_affine, to_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.exchange.splines import KernelSpline
from neuralreg.io.exchange.x5 import SIGNATURE, load_h5py
from neuralreg.io.files import itk_reason, quiet_itk, suffix_of
from neuralreg.io.formats import nifti_header
from neuralreg.io.itk_images import WRITABLE as IMAGE_SUFFIXES
from neuralreg.io.itk_images import check_vectors, read_itk_image

VELOCITY = "stationary velocity field, LPS mm per unit of time"
VELOCITY_KEYS = ("ITK_FileNotes", "descrip")  # how NIfTI's description is written, and read
_TEXT = b"#Insigh"  # how a text file begins
_V2, _RIGID, _KERNEL = "BSplineDeformableTransform", "Rigid3DTransform", "KernelTransform"
_CLASSLESS = ("Centered", "ScalableAffine", "FixedCenterOfRotation")  # in SimpleITK
_LEGACY = (_V2, _RIGID, _KERNEL, *_CLASSLESS)


def read_insight(path: Path, sides: Sides) -> sitk.Transform | sitk.Image:
    """The transform in a file of ITK, or the displacements in an image.

    Args:
        path: of the file.
        sides: the fixed image, for splines between points.

    Raises:
        UnreadableFile: it is damaged, or of an unknown kind.
        InvalidTransform: it holds something that cannot be used.
    """
    if suffix_of(path) in IMAGE_SUFFIXES:
        return _displacements(path, read_itk_image(path))
    _require_numbers(path)
    said = _Words()
    try:
        with quiet_itk(), said.listen(), _without_mark(path) as plain:
            transform: sitk.Transform = sitk.ReadTransform(str(plain))
    except RuntimeError as error:
        legacy = _read_legacy(path, sides)
        if legacy is None:
            raise _unreadable(path, error) from error
        return legacy
    if any("more than one transform" in text for text in said.texts):
        raise InvalidTransform(
            "this file holds several transforms and does not say how they are joined",
            where=str(path),
            wanted="one transform, or one CompositeTransform",
            remedy="Give each in a file of its own; `warp` takes several, the first moves the "
            "fixed points first.",
        )
    return transform.Downcast()


def _require_numbers(path: Path) -> None:
    """Check the numbers of a text file: ITK takes what it can of `0,5` and of a cut line."""
    with path.open("rb") as file:
        if not file.read(16).removeprefix(codecs.BOM_UTF8).startswith(_TEXT):
            return
    text = path.read_text("latin-1")
    for line in re.findall(r"^(?:Fixed)?Parameters:.*", text, re.M):
        for word in line.partition(":")[2].split():
            try:
                float(word)
            except ValueError as error:
                raise InvalidTransform(
                    "the parameters of a transform are numbers",
                    where=str(path),
                    got=word[:40],
                    wanted="such as 0.5, with a point",
                    remedy="Write the file again by a program that does not put commas in numbers.",
                ) from error


@contextmanager
def _without_mark(path: Path) -> Iterator[Path]:
    """The file, or a copy without the byte order mark that an editor put in front of it."""
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            yield path
            return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.name
        plain.write_bytes(path.read_bytes().removeprefix(codecs.BOM_UTF8))
        yield plain


class _Words(sitk.LoggerBase):  # type: ignore[misc]
    """What ITK says while it reads, which no exception tells."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def DisplayWarningText(self, text: str) -> None:  # noqa: N802 - ITK's name
        self.texts.append(text)

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Take ITK's words instead of the terminal."""
        before = self.SetAsGlobalITKLogger()
        display = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(True)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(display)
            before.SetAsGlobalITKLogger()


@dataclass(frozen=True)
class _Stored:
    """One transform as a file has it."""

    kind: str
    parameters: Matrix
    fixed: Matrix


def _read_legacy(path: Path, sides: Sides) -> sitk.Transform | sitk.Image | None:
    """A transform that SimpleITK does not read; None where it is none of these either."""
    stored = _read_stored(path)
    if not stored or not any(name in one.kind for one in stored for name in _LEGACY):
        return None
    first = stored[0]
    if len(stored) == 1 and any(name in first.kind for name in _CLASSLESS):
        return _linear_of(path, first)
    if len(stored) > 1 and _V2 not in first.kind:
        return None
    if _RIGID in first.kind:
        d = 3
        matrix = np.eye(4)
        matrix[:d, :d] = first.parameters[:9].reshape(d, d)
        center = first.fixed[:3] if len(first.fixed) >= d else np.zeros(d)
        matrix[:d, d] = first.parameters[9:12] + center - matrix[:d, :d] @ center
        return to_affine(matrix)
    d = int(re.findall(r"_(\d)_\d$", first.kind)[0]) if re.search(r"_\d_\d$", first.kind) else 3
    if _KERNEL in first.kind:
        spline = KernelSpline.fit(
            first.parameters.reshape(-1, d),
            first.fixed.reshape(-1, d),
            first.kind.split("KernelTransform")[0],
        )
        return spline.on(sides.grid("fixed", path, "a spline between points, without a grid"))
    return _deformable(path, first, stored[1:], d)


def _deformable(path: Path, first: _Stored, others: list[_Stored], d: int) -> sitk.Transform:
    """A spline of ITK 3: its displacements are added to what the bulk transform does."""
    spline = sitk.BSplineTransform(d, 3)
    spline.SetFixedParameters(first.fixed.tolist())
    if not others:
        spline.SetParameters(first.parameters.tolist())
        return spline
    if len(others) > 1:
        raise InvalidTransform(
            "a spline of ITK 3 has at most one bulk transform", where=str(path),
            got=", ".join(one.kind for one in others),
        )  # fmt: skip
    bulk = _linear_of(path, others[0])
    # A p + t + d(p) is the matrix after p + A^-1 d(p): splines are linear in their coefficients.
    inverse = np.linalg.inv(from_affine(bulk)[:d, :d])
    spline.SetParameters((inverse @ first.parameters.reshape(d, -1)).ravel().tolist())
    return sitk.CompositeTransform([bulk, spline])  # ITK applies the last first


def _linear_of(path: Path, stored: _Stored) -> sitk.Transform:
    """One linear transform, also of a kind for which SimpleITK has no class.

    As the member of a composite ITK applies it all the same.
    """
    kind = re.sub(r"^.*?(_[a-z]+_\d_\d)$", r"CompositeTransform\1", stored.kind)
    lines = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        f"Transform: {kind}",
        "#Transform 1",
        f"Transform: {stored.kind}",
        f"Parameters: {' '.join(map(repr, stored.parameters.tolist()))}",
        f"FixedParameters: {' '.join(map(repr, stored.fixed.tolist()))}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "composite.tfm"
        draft.write_text("\n".join(lines) + "\n")
        try:
            with quiet_itk():
                transform = sitk.ReadTransform(str(draft))
        except RuntimeError as error:
            raise _unreadable(path, error) from error
    if not transform.IsLinear():
        raise InvalidTransform("a linear transform was expected", where=str(path), got=stored.kind)
    return to_affine(from_affine(transform))


def _read_stored(path: Path) -> list[_Stored]:
    """The transforms of a text or HDF5 file; none where it is of another kind or damaged."""
    with path.open("rb") as file:
        head = file.read(len(SIGNATURE))
    if head == SIGNATURE:
        return _read_hdf5(path)
    if not head.startswith(_TEXT):
        return []
    blocks = re.findall(
        r"^Transform: (\S+)\s+Parameters:([^\n]*)\s+FixedParameters:([^\n]*)",
        path.read_text("latin-1"), re.M,
    )  # fmt: skip
    try:
        return [
            _Stored(kind, np.array(p.split(), float), np.array(f.split(), float))
            for kind, p, f in blocks
        ]
    except ValueError:
        return []


def _read_hdf5(path: Path) -> list[_Stored]:
    h5py = load_h5py(path)
    try:
        with h5py.File(path, "r") as file:
            nodes = [file["TransformGroup"][key] for key in sorted(file["TransformGroup"], key=int)]
            return [
                _Stored(
                    node["TransformType"][0].decode(),
                    np.array(node.get("TransformParameters", node.get("TranformParameters"))),
                    np.array(
                        node.get("TransformFixedParameters", node.get("TranformFixedParameters"))
                    ),
                )
                for node in nodes
                if "TransformType" in node
            ]
    except (OSError, KeyError, ValueError) as error:
        raise UnreadableFile(f"{path} cannot be read as a transform", got=str(error)) from error


def _displacements(path: Path, vectors: sitk.Image) -> sitk.Image:
    """What an image of ITK means as displacements in LPS mm."""
    if _meta(vectors, "displacement field type") == "modeling":
        raise InvalidTransform(
            "this displacement field moves points the other way, from moving to fixed",
            got="3D Slicer's mark 'displacement field type: modeling'",
            wanted="'resampling'",
            remedy="Invert the transform in 3D Slicer and save it again.",
        )
    is_velocity = any(_meta(vectors, key).strip() == VELOCITY for key in VELOCITY_KEYS)
    if vectors.GetDimension() == 2 and vectors.GetNumberOfComponentsPerPixel() == 3:
        vectors = _with_third_axis(vectors, path)
    check_vectors(vectors)
    if vectors.GetPixelID() not in (sitk.sitkVectorFloat32, sitk.sitkVectorFloat64):
        vectors = sitk.Cast(vectors, sitk.sitkVectorFloat32)
    return integrate(vectors, path) if is_velocity else vectors


def _meta(image: sitk.Image, key: str) -> str:
    return str(image.GetMetaData(key)) if image.HasMetaDataKey(key) else ""


def _with_third_axis(vectors: sitk.Image, path: Path) -> sitk.Image:
    """A one-slice NIfTI field with the place that its header gives it; ITK drops the third axis."""
    header = nifti_header.read_header(path)
    matrix = header.sform if header.sform is not None else header.qform
    if matrix is None:
        raise InvalidTransform(
            "a field of one slice has no position in space", got="neither qform nor sform"
        )
    matrix = matrix * [[-1], [-1], [1], [1]]
    spacing = (matrix[:3, :3] ** 2).sum(0) ** 0.5
    volume = sitk.JoinSeries(vectors)
    volume.SetSpacing(spacing.tolist())
    volume.SetOrigin(matrix[:3, 3].tolist())
    volume.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    return volume


def _unreadable(path: Path, error: RuntimeError) -> RegistrationError:
    if "InverseDisplacementFieldTransform" in str(error):
        return InvalidTransform(
            "this file holds the inverse of a displacement field, which only 3D Slicer reads",
            where=str(path),
            remedy="Invert the transform in 3D Slicer and save it again.",
        )
    return UnreadableFile(
        f"{path} cannot be read as a transform",
        got=itk_reason(error),
        wanted="an ITK transform file or an image of displacement vectors",
    )
