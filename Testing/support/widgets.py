"""What a person does with widgets."""

from __future__ import annotations

TRAIN_SIZE = 16  # samples along each axis of the volumes that the Train panel gets


def pick_data(selector, data: str) -> None:
    """Chooses the entry of a combo box by its data, as a click does."""
    selector.currentIndex = selector.findData(data)
    selector.activated.emit(selector.currentIndex)
