"""Makes the expected values beside it, with the authors' own code: numbers only, from seeds.

    python -m Testing.data.networks.make FOLDER [name …]

FOLDER as in Testing/support/authors_networks.py. Each file holds `places` (300, d), the output
there (300, c), and the mean absolute value of each channel of the whole output. Weights, images and
places come from Testing/support/seeded.py, at the size and with the factors of authors_networks.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from Testing.support.authors_networks import NETWORKS, on_this_machine
from Testing.support.seeded import seeded_pair, seeded_weights, some_places


def main(folder: Path, names: list[str]) -> None:
    for name in names or NETWORKS:
        network = NETWORKS[name]
        with on_this_machine(), torch.inference_mode():
            theirs = network.both if name == "symnet" else network.theirs
            assert theirs is not None
            module, run = theirs(folder, network.small)
            module.load_state_dict(seeded_weights(module.state_dict(), network.gentle))
            answer = run(*seeded_pair(network.small))[0] if module.eval() else None
        assert answer is not None
        at = some_places(tuple(answer.shape[1:]))
        values = answer[(slice(None), *at.T)].T
        mean = answer.abs().flatten(1).mean(1)
        path = Path(__file__).with_name(f"{name}.npz")
        np.savez_compressed(path, places=at.numpy().astype(np.int16), values=values, mean=mean)
        told = f"{name}: mean {mean.tolist()}, largest {float(answer.abs().max()):.3g}"
        sys.stdout.write(told + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
