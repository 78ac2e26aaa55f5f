"""Transforms in a saved scene of 3D Slicer (.mrb): one is chosen by the name of its node.

A bundle is a zip file with a scene in XML (.mrml) and the files of its nodes. The file of a
transform node takes points from the parent's frame to that of the node, as resampling wants it; a
node below others is taken with all of them, so that it maps the world. Sources: vtkMRMLScene,
vtkMRMLTransformNode and vtkMRMLTransformStorageNode.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.io.files import SERIES_MARK, split_series

SUFFIX = ".mrb"
_KINDS = ("LinearTransform", "Transform", "GridTransform", "BSplineTransform")
_FORMER = {"storage": "storageNodeRef", "transform": "transformNodeRef"}
Reader = Callable[[Path], "sitk.Transform | sitk.Image"]


@dataclass(frozen=True)
class _Node:
    """A node of a scene.

    Attributes:
        name: as the person sees it.
        references: IDs of other nodes by role.
        file: of a storage node, relative to the scene.
    """

    name: str
    references: dict[str, str]
    file: str

    @classmethod
    def of(cls, element: ElementTree.Element) -> _Node:
        pairs = (part.partition(":") for part in element.get("references", "").split(";"))
        references = {role: ids.split()[0] for role, _, ids in pairs if ids.split()}
        for role, former in _FORMER.items():
            if element.get(former):
                references.setdefault(role, str(element.get(former)))
        return cls(element.get("name", ""), references, element.get("fileName", ""))


def is_scene(path: Path) -> bool:
    """Whether a path leads to a bundle of a scene, or names a node in one."""
    return split_series(path)[0].suffix.lower() == SUFFIX


def read_scene_transform(path: Path, read: Reader) -> sitk.Transform | sitk.Image:
    """The transform of a node, as points of the world pass it and the nodes above it.

    Args:
        path: of a bundle with one transform node, or `SCENE.mrb::NODE`.
        read: of a transform file.

    Returns:
        From the world to what is below the node (fixed to moving), LPS mm.

    Raises:
        InvalidTransform: no node or several are meant, or it has no file.
        UnreadableFile: the bundle is damaged.
    """
    bundle, name = split_series(path)
    try:
        with zipfile.ZipFile(bundle) as content:
            scene = _scene_of(bundle, content)
            elements = ElementTree.fromstring(content.read(scene))
            nodes = {e.get("id", ""): _Node.of(e) for e in elements.iter() if e.get("id")}
            transforms = [e.get("id", "") for e in elements.iter() if e.tag in _KINDS]
            chain = _chain_of(_choose_node(bundle, name, nodes, transforms), nodes)
            files = [_file_of(bundle, node, nodes) for node in chain]
            folder = PurePosixPath(scene).parent
            parts = [_read(content, str(folder / unquote(file)), read) for file in files]
    except (zipfile.BadZipFile, zlib.error, ElementTree.ParseError, KeyError, EOFError) as error:
        raise UnreadableFile(f"{bundle} is a damaged scene", got=str(error)) from error
    if len(parts) == 1:
        return parts[0]
    # ITK applies the last of a composite first: points of the world meet the outermost node first.
    return sitk.CompositeTransform([_as_transform(part) for part in parts])


def _scene_of(bundle: Path, content: zipfile.ZipFile) -> str:
    scenes = [name for name in content.namelist() if name.lower().endswith(".mrml")]
    if len(scenes) != 1:
        raise UnreadableFile(
            f"{bundle} is no scene of 3D Slicer", got=f"{len(scenes)} files .mrml", wanted="one"
        )
    return scenes[0]


def _choose_node(bundle: Path, name: str, nodes: dict[str, _Node], transforms: list[str]) -> _Node:
    """The node that is meant."""
    meant = [one for one in transforms if not name or name in (nodes[one].name, one)]
    if len(meant) == 1:
        return nodes[meant[0]]
    known = ", ".join(f"'{nodes[one].name}' ({one})" for one in meant or transforms) or "none"
    what = f"{len(meant) or 'no'} transform nodes" if len(meant) != 1 else ""
    raise InvalidTransform(
        f"{what} in this scene are called '{name}'" if name else f"this scene holds {what}",
        where=str(bundle), got=known, wanted="the name or ID of one",
        remedy=f"Name it after two colons: {bundle}{SERIES_MARK}NAME" if transforms else "",
    )  # fmt: skip


def _chain_of(node: _Node, nodes: dict[str, _Node]) -> list[_Node]:
    """The node and those above it, the outermost last."""
    chain = [node]
    while (parent := chain[-1].references.get("transform")) is not None:
        if parent not in nodes or nodes[parent] in chain:
            raise KeyError(f"the transform above '{chain[-1].name}' is not in the scene")
        chain.append(nodes[parent])
    return chain


def _file_of(bundle: Path, node: _Node, nodes: dict[str, _Node]) -> str:
    storage = nodes.get(node.references.get("storage", ""))
    if storage is None or not storage.file:
        raise InvalidTransform(
            f"the node '{node.name}' has no file in this scene", where=str(bundle),
            remedy="Save the scene again in 3D Slicer.",
        )  # fmt: skip
    return storage.file


def _read(content: zipfile.ZipFile, name: str, read: Reader) -> sitk.Transform | sitk.Image:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("transform" + "".join(PurePosixPath(name).suffixes[-2:]))
        path.write_bytes(content.read(name))
        return read(path)


def _as_transform(part: sitk.Transform | sitk.Image) -> sitk.Transform:
    if isinstance(part, sitk.Image):
        return sitk.DisplacementFieldTransform(sitk.Cast(part, sitk.sitkVectorFloat64))
    return part
