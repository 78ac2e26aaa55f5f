"""Registration of nodes in a scene, for scripts and the Python console.

    from NeuralRegistrationLib.Logic import register
    done = register(getNode("MRHead"), getNode("Atlas"), segmentations=[getNode("Atlas labels")])
    print(done.result.outcome)

Nothing that was in the scene is changed or deleted; `done.revert()` takes the results away again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import neuralreg
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.result import RegistrationResult

from . import Placement, Revert, Segmentations, Transforms, Volumes

Engine = Callable[..., RegistrationResult]


@dataclass
class Registered:
    """What a registration left in the scene.

    transformNode: carries things from the moving image onto the fixed one.
    inverseTransformNode: carries things from the fixed image onto the moving one; None unless
    asked for. warpedVolumeNode: the moving volume on the fixed one's grid, in the world.
    warpedSegmentationNodes: copies of the segmentations, resampled onto that grid.
    """

    result: RegistrationResult
    transformNode: object
    inverseTransformNode: object | None
    warpedVolumeNode: object
    warpedSegmentationNodes: list
    changes: Revert.Changes

    def carryAlong(self, node) -> None:
        """Show a volume, segmentation, markups or model of the moving side on the fixed image."""
        Transforms.requireTransformable(node)
        former = node.GetTransformNodeID()
        between = Transforms.carryAlong(node, self.transformNode)
        self.changes.moved(node, former)
        if between is not None:
            self.changes.made(between)
            Placement.placeBeside(between, self.transformNode)

    def revert(self) -> None:
        """Bring the scene back to what it was before."""
        self.changes.revert()


def register(
    fixedNode,
    movingNode,
    model: str = "convex",
    *,
    segmentations: Iterable = (),
    carried: Iterable = (),
    fixedMask=None,
    movingMask=None,
    inverse: bool = False,
    engine: Engine | None = None,
    **options,
) -> Registered:
    """Register two volume nodes where they lie in the world, and put the results beside the fixed.

    segmentations: of the moving side; each gets a warped copy. carried: volumes, segmentations,
    markups, models of the moving side that are to observe the transform. fixedMask, movingMask:
    label map or segmentation nodes. inverse: also make a node for the other direction.
    engine: what computes; `neuralreg.register` unless a test says otherwise.
    options: handed to the engine, see `neuralreg.register`.
    Raises neuralreg.errors.RegistrationError; the scene is then as it was.
    """
    fixed, moving = map(Volumes.imageFromVolumeNode, (fixedNode, movingNode))
    masks = {
        "fixed_mask": _mask(fixedMask, fixed.grid),
        "moving_mask": _mask(movingMask, moving.grid),
    }
    compute = engine or neuralreg.register
    result = compute(fixed, moving, model, **masks, **options)
    bent = [node.GetName() for node in (fixedNode, movingNode) if Volumes.isBent(node)]
    notes = tuple(f"{name} was resampled: the transform above it bends or shears" for name in bent)
    result = dataclasses.replace(result, warnings=(*notes, *result.warnings))
    delivery = _Delivery(result, fixedNode, movingNode, fixed.grid)
    try:
        return delivery.registered(segmentations, carried, inverse=inverse)
    except BaseException:
        delivery.changes.revert()
        raise


def _mask(node, grid: Grid) -> Image | None:
    if node is None:
        return None
    if node.IsA("vtkMRMLSegmentationNode"):
        return Segmentations.labelsOnGrid(node, grid)[0]
    return Volumes.imageFromVolumeNode(node)


class _Delivery:
    """The results of one registration on their way into the scene."""

    def __init__(self, result: RegistrationResult, fixedNode, movingNode, grid: Grid) -> None:
        self.result, self.fixed, self.moving, self.grid = result, fixedNode, movingNode, grid
        self.changes = Revert.Changes(fixedNode.GetScene())

    def registered(self, segmentations, carried, *, inverse: bool) -> Registered:
        done = Registered(
            result=self.result,
            transformNode=self.transform(self.result.field, self.fixed, self.moving, self.grid),
            inverseTransformNode=(self.inverseTransform() if inverse else None),
            warpedVolumeNode=self.volume(),
            warpedSegmentationNodes=[self.segmentation(node) for node in segmentations],
            changes=self.changes,
        )
        for node in carried:
            done.carryAlong(node)
        return done

    def transform(self, field: DisplacementField, fixed, moving, covered: Grid):
        name = self.name(f"{moving.GetName()} to {fixed.GetName()}")
        node = Transforms.transformNodeFromField(
            field, name, fixed=fixed, moving=moving, covered=covered
        )
        return self.placed(node, fixed)

    def inverseTransform(self):
        covered = Volumes.voxelsOf(self.moving).straightGrid
        return self.transform(self.result.inverse_field, self.moving, self.fixed, covered)

    def volume(self):
        name = self.name(f"{self.moving.GetName()} on {self.fixed.GetName()}")
        node = Volumes.warpedVolume(self.moving, self.result.field, self.grid, name)
        return self.placed(node, self.fixed)

    def segmentation(self, source):
        name = self.name(f"{source.GetName()} on {self.fixed.GetName()}")
        node = Segmentations.warpedSegmentation(
            source, self.result.field, self.grid, name, self.fixed
        )
        return self.placed(node, self.fixed)

    def name(self, wanted: str) -> str:
        return Placement.freeName(self.changes.scene, wanted)

    def placed(self, node, neighbor):
        self.changes.made(node)
        Placement.placeBeside(node, neighbor)
        return node
