"""The files of a registration: which ones there are, and the images in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from neuralreg.errors import InvalidOption
from neuralreg.geometry.image import Image
from neuralreg.io.colors import read_colors_or_gray
from neuralreg.io.formats.segment_pairs import read_overlapping
from neuralreg.io.image_files import read_image, read_labels
from neuralreg.registration.guides.voxel_weights import combine_weights
from neuralreg.registration.image_checks import on_grid, overlap
from neuralreg.registration.options import RegistrationOptions

# What comes in pairs of files, and how inputs name each.
_PAIRS = {"channels": "channel", "surfaces": "surface"}
_GUIDES = ("channels", "surfaces", "sliding")
_SIDES = ("fixed", "moving")


@dataclass(frozen=True)
class Job:
    """What the command line was asked to do.

    Attributes:
        fixed, moving, fixed_seg, moving_seg, fixed_mask, moving_mask, initial: files.
        options: everything else.
        initial_format: the program of that transform, where content does not decide.
        fixed_weight, moving_weight: files with how much each voxel counts, 0 to 1.
        fixed_exclude, moving_exclude: masks of what does not count, such as a lesion.
        fixed_landmarks, moving_landmarks: files that the options' landmarks are from.
        channels, surfaces: pairs of files.
        sliding: mask of the part of the fixed image that may slide along the rest.
        keep_uids: whether the record gets the UIDs of DICOM images beside their hashes.
    """

    fixed: Path
    moving: Path
    fixed_seg: Path | None
    moving_seg: Path | None
    fixed_mask: Path | None
    moving_mask: Path | None
    initial: Path | None
    options: RegistrationOptions
    initial_format: str | None = None
    fixed_weight: Path | None = None
    moving_weight: Path | None = None
    fixed_exclude: Path | None = None
    moving_exclude: Path | None = None
    fixed_landmarks: Path | None = None
    moving_landmarks: Path | None = None
    channels: tuple[tuple[Path, Path], ...] = ()
    surfaces: tuple[tuple[Path, Path], ...] = ()
    keep_uids: bool = False
    sliding: Path | None = None

    @classmethod
    def of(
        cls, files: Mapping[str, Path], options: RegistrationOptions, initial_format: str | None
    ) -> Job:
        """The job whose `inputs` these files are.

        Raises:
            InvalidOption: a name is none of them.
        """
        own = {field.name for field in fields(cls)} - {
            "options",
            "initial_format",
            "keep_uids",
            *_PAIRS,
        }
        singles = dict.fromkeys(own) | {n: p for n, p in files.items() if n in own}
        pairs = {name: _pairs_among(files, _PAIRS[name]) for name in _PAIRS}
        job = cls(**singles, **pairs, options=options, initial_format=initial_format)  # type: ignore[arg-type]
        if unknown := sorted(set(files) - set(job.inputs())):
            raise InvalidOption(
                "these are not the inputs of a registration", got=", ".join(unknown)
            )
        return job

    def inputs(self) -> dict[str, Path]:
        """The files that were given, by the names of their options; those of pairs with numbers."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        files = {name: path for name, path in named.items() if isinstance(path, Path)}
        for name, word in _PAIRS.items():
            for n, pair in enumerate(named[name], start=1):
                files |= {f"{s}_{word}_{n}": p for s, p in zip(_SIDES, pair, strict=True)}
        return files

    def exchange_sides(self, start: Path | None) -> Job:
        """The job of the other direction, which begins with another start.

        Segmentations are in it only where they drive; what may slide is known in the fixed image.
        """
        drives = drives_by_maps(self.options)
        return Job(
            fixed=self.moving,
            moving=self.fixed,
            fixed_seg=self.moving_seg if drives else None,
            moving_seg=self.fixed_seg if drives else None,
            fixed_mask=self.moving_mask,
            moving_mask=self.fixed_mask,
            initial=start,
            options=self.options.exchange_sides(),
            fixed_weight=self.moving_weight,
            moving_weight=self.fixed_weight,
            fixed_exclude=self.moving_exclude,
            moving_exclude=self.fixed_exclude,
            fixed_landmarks=self.moving_landmarks,
            moving_landmarks=self.fixed_landmarks,
            channels=tuple((moving, fixed) for fixed, moving in self.channels),
            surfaces=tuple((moving, fixed) for fixed, moving in self.surfaces),
            keep_uids=self.keep_uids,
        )


@dataclass(frozen=True)
class Images:
    """The images of a job.

    Attributes:
        fixed, moving, fixed_seg, moving_seg, fixed_mask, moving_mask: as read.
        notes: what had to be assumed while reading them.
        channels: pairs of images.
        surfaces: pairs of files.
        sliding: mask on the fixed side.
    """

    fixed: Image
    moving: Image
    fixed_seg: Image | None
    moving_seg: Image | None
    fixed_mask: Image | None
    moving_mask: Image | None
    notes: list[str]
    channels: tuple[tuple[Image, Image], ...] = ()
    surfaces: tuple[tuple[Path, Path], ...] = ()
    sliding: Image | None = None

    def guides(self, options: RegistrationOptions) -> dict[str, Any]:
        """What steers a registration with these options, as keywords of `register`."""
        guides: dict[str, Any] = {name: getattr(self, name) for name in _GUIDES}
        if drives_by_maps(options):
            guides["labels"] = (self.fixed_seg, self.moving_seg)
        if options.rigid_labels is not None:
            guides["rigid"] = self.fixed_seg
        return guides


def drives_by_maps(options: RegistrationOptions) -> bool:
    """Whether the label maps of a job drive."""
    return options.label_weight > 0 and options.label_source == "given"


def read_images(job: Job) -> Images:
    """The images of a job, with the masks and weights of each side as one."""
    notes: list[str] = []

    def image(path: Path) -> Image:
        return read_image(path, notes=notes)

    def labels(path: Path | None) -> Image | None:
        return None if path is None else read_labels(path, notes=notes)

    fixed, moving = (read_colors_or_gray(p, notes=notes) for p in (job.fixed, job.moving))
    channels = tuple((image(one), image(two)) for one, two in job.channels)
    segments = _segments(job, notes) if drives_by_maps(job.options) else None
    fixed_seg, moving_seg = segments or (labels(job.fixed_seg), labels(job.moving_seg))
    if fixed_seg and fixed_seg.channels == 1:
        fixed_seg, more = on_grid(fixed_seg, fixed.grid, "fixed label map")
        notes += more
    if moving_seg and (share := overlap(moving_seg, moving.grid, "moving label map")) < 1:
        notes.append(f"the moving label map covers {100 * share:.0f} % of the moving image")
    masks = []
    for part, mask, weight, exclude, role in (
        (fixed, job.fixed_mask, job.fixed_weight, job.fixed_exclude, "fixed image"),
        (moving, job.moving_mask, job.moving_weight, job.moving_exclude, "moving image"),
    ):
        soft = None if weight is None else image(weight)
        combined, more = combine_weights(part, labels(mask), soft, labels(exclude), role)
        masks.append(combined)
        notes += more
    sides = fixed, moving, fixed_seg, moving_seg, masks[0], masks[1]
    return Images(*sides, notes, channels, job.surfaces, labels(job.sliding))


def _segments(job: Job, notes: list[str]) -> tuple[Image, Image] | None:
    """The segmentations that drive, where their segments overlap; a channel for each segment."""
    if job.fixed_seg is None or job.moving_seg is None:
        return None
    segments = read_overlapping([job.fixed_seg, job.moving_seg], notes)
    if segments:
        notes.append(
            "they are no label map: no warped_seg.nii.gz and no Dice are made; `neuralreg warp` "
            "takes the segmentation along"
        )
    return segments


def _pairs_among(files: Mapping[str, Path], word: str) -> tuple[tuple[Path, Path], ...]:
    """The pairs with numbers among named files, up to the first number that is missing."""
    pairs: list[tuple[Path, Path]] = []
    while True:
        names = [f"{side}_{word}_{len(pairs) + 1}" for side in _SIDES]
        if not set(names) <= set(files):
            return tuple(pairs)
        pairs.append((files[names[0]], files[names[1]]))


def parse_numbers(texts: list[str]) -> dict[str, float]:
    """`["smoothness=0.3"]` as a mapping.

    Raises:
        InvalidOption: for anything else.
    """
    options = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            options[name] = float(value)
        except ValueError as error:
            raise InvalidOption(
                "an option of a model is a name and a number", got=f"'{text}'", wanted="name=0.3"
            ) from error
    return options
