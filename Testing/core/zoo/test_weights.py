"""Weights: fetched over a real connection that fails as connections do, and checked."""

import hashlib
import io
import json
import pickle
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from neuralreg.errors import (
    Cancelled,
    ChecksumMismatch,
    IncompatibleModel,
    UnreadableFile,
    UnwritableOutput,
    WeightsUnavailable,
)
from neuralreg.io.files import sha256_of
from neuralreg.zoo import download, weights
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.load_weights import fill_weights, program_of, state_of
from neuralreg.zoo.registry import load_model, read_card

from Testing.support.file_server import serving
from Testing.support.paths import RESOURCES, WEIGHTS

CONVEX = json.loads((RESOURCES / "Models" / "convex.json").read_text("utf-8"))

CONTENT = bytes(range(256)) * 2000


def card(**wanted) -> ModelCard:
    return ModelCard.model_validate(
        {**CONVEX, "name": "probe", "weights": {"file": "probe.pth", **wanted}}
    )


def pinned(server, content=CONTENT, **more) -> ModelCard:
    return card(url=server.url, sha256=hashlib.sha256(content).hexdigest(), **more)


@pytest.fixture
def server():
    with serving(CONTENT) as running:
        yield running


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_comes_whole_once_and_with_progress(server, tmp_path):
    seen = []
    path = weights.fetch(pinned(server), tmp_path, lambda f, m: seen.append(f))
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == ["probe.pth"]
    assert seen == sorted(seen)
    assert seen[-1] == 1
    weights.fetch(pinned(server), tmp_path)
    assert len(server.requests) == 1


def test_a_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    server.cut_after = 300_000
    assert weights.fetch(pinned(server), tmp_path).read_bytes() == CONTENT
    (_, first), (_, second) = server.requests
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 300_000


def test_a_server_that_knows_no_ranges_sends_all_again(server, tmp_path):
    server.cut_after, server.ranges = 300_000, False
    assert weights.fetch(pinned(server), tmp_path).read_bytes() == CONTENT


def test_a_cancelled_download_goes_on_at_the_next_try(server, tmp_path):
    def cancel(fraction, message):
        if fraction > 0.5:
            raise Cancelled("the job was cancelled")

    with pytest.raises(Cancelled):
        weights.fetch(pinned(server), tmp_path, cancel)
    assert left_in(tmp_path) == ["probe.pth.part"]
    assert weights.fetch(pinned(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1] not in (None, "bytes=0-")
    assert left_in(tmp_path) == ["probe.pth"]


def test_an_error_of_the_server_is_tried_again(server, tmp_path):
    server.failures = [500, 503]
    assert weights.fetch(pinned(server), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_server_that_keeps_failing_is_named(server, tmp_path):
    server.failures = [500] * 50
    with pytest.raises(WeightsUnavailable, match="500"):
        weights.fetch(pinned(server), tmp_path)
    assert left_in(tmp_path) == []


def test_a_missing_file_is_not_asked_for_again(server, tmp_path):
    server.failures = [404]
    with pytest.raises(WeightsUnavailable, match="404"):
        weights.fetch(pinned(server), tmp_path)
    assert len(server.requests) == 1
    assert left_in(tmp_path) == []


def test_a_redirect_is_followed(server, tmp_path):
    server.redirect = True
    assert weights.fetch(pinned(server), tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/weights.pth", "/moved"]


def test_another_file_than_the_card_names_never_gets_its_name(server, tmp_path):
    with pytest.raises(ChecksumMismatch, match="models get probe"):
        weights.fetch(pinned(server, b"something else"), tmp_path)
    assert left_in(tmp_path) == []


def test_no_network_is_one_clear_error(tmp_path):
    unreachable = card(url="http://127.0.0.1:9/x.pth", sha256="0" * 64)
    with pytest.raises(WeightsUnavailable, match="import it"):
        weights.fetch(unreachable, tmp_path)
    assert left_in(tmp_path) == []


def test_a_full_disk_is_one_clear_error(server, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    code = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import sys; from pathlib import Path; from neuralreg.zoo import weights\n"
        "from neuralreg.zoo.card import ModelCard\n"
        "weights.fetch(ModelCard.model_validate_json(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, pinned(server).model_dump_json(), str(tmp_path)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert UnwritableOutput.__name__ in done.stderr.splitlines()[-1]
    assert "probe.pth" not in left_in(tmp_path)


def test_two_processes_that_fetch_at_once_end_with_one_good_file(server, tmp_path):
    code = (
        "import sys; from pathlib import Path; from neuralreg.zoo import weights\n"
        "from neuralreg.zoo.card import ModelCard\n"
        "weights.fetch(ModelCard.model_validate_json(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", code, pinned(server).model_dump_json(), str(tmp_path)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert left_in(tmp_path) == ["probe.pth"]
    assert (tmp_path / "probe.pth").read_bytes() == CONTENT


def test_a_git_blob_id_is_as_good_as_a_hash(server, tmp_path):
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    assert weights.fetch(card(url=server.url, git_blob=blob), tmp_path).read_bytes() == CONTENT
    with pytest.raises(ChecksumMismatch):
        weights.fetch(card(url=server.url, git_blob="0" * 40), tmp_path / "other")


def test_without_a_published_hash_the_first_download_is_what_later_ones_must_be(server, tmp_path):
    unpinned = card(url=server.url)
    path = weights.fetch(unpinned, tmp_path)
    assert weights.verify(unpinned, path, tmp_path) == "as recorded"
    weights.remove(unpinned, tmp_path)
    server.content = CONTENT[::-1]
    with pytest.raises(ChecksumMismatch):
        weights.fetch(unpinned, tmp_path)
    assert "probe.pth" not in left_in(tmp_path)


def test_files_are_imported_by_what_they_hold_not_by_their_names(tmp_path):
    first = card(sha256=hashlib.sha256(CONTENT).hexdigest())
    second = card(file="second.pth", sha256=hashlib.sha256(b"second").hexdigest())
    absent = card(file="absent.pth", sha256="0" * 64)
    friend, cache = tmp_path / "from a friend", tmp_path / "cache"
    (friend / "deeper").mkdir(parents=True)
    (friend / "Step_2.final").write_bytes(CONTENT)
    (friend / "deeper" / "download (1)").write_bytes(b"second")
    (friend / "another").write_bytes(b"x")
    cards = [absent, first, second]
    assert weights.import_weights(friend, cards, cache) == ([first, second], [friend / "another"])
    assert [weights.verify(each, cache=cache) for each in cards] == ["absent", "checked", "checked"]
    assert left_in(cache) == [first.weights.file, "second.pth"]
    with pytest.raises(WeightsUnavailable, match="no model card names this file"):
        weights.import_weights(friend / "another", cards, cache)


def test_weights_that_are_missing_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match="models get probe"):
        weights.require(card(url="http://127.0.0.1/x"))
    assert weights.verify(card()) == "absent"
    assert not weights.is_available(card())
    assert not weights.remove(card())


def test_a_damaged_file_in_the_cache_is_not_used(server, tmp_path):
    path = weights.fetch(pinned(server), tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ChecksumMismatch):
        weights.require(pinned(server), tmp_path)


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"weight": Evil()}, path)
    with pytest.raises(IncompatibleModel, match="would run code"):
        state_of(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(IncompatibleModel):
        state_of(path)
    assert "this ran" not in capsys.readouterr().out


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "cut.pth"
    torch.save({"weight": torch.rand(100, 100)}, path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(IncompatibleModel, match="incomplete"):
        state_of(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(50_000_000))
    with pytest.raises(IncompatibleModel, match="bytes packed into"):
        state_of(path)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad):
    torch.save({"weight": torch.tensor([1.0, bad])}, tmp_path / "w.pth")
    with pytest.raises(IncompatibleModel, match="NaN or infinite"):
        state_of(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [torch.rand(3), {"a": 1}, ["x"]])
def test_something_else_than_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(IncompatibleModel, match="tensors by name"):
        state_of(tmp_path / "w.pth")


@pytest.mark.parametrize("spoil", ["missing", "left over", "another shape"])
def test_weights_must_fit_exactly(spoil):
    network = torch.nn.Linear(3, 2)
    state = network.state_dict()
    if spoil == "missing":
        del state["bias"]
    elif spoil == "left over":
        state["more"] = torch.zeros(1)
    else:
        state["bias"] = torch.zeros(5)
    with pytest.raises(IncompatibleModel, match="do not fit"):
        fill_weights(torch.nn.Linear(3, 2), state, "probe")


def test_safetensors_and_nested_state_dicts_are_read(tmp_path):
    from safetensors.torch import save_file

    state = {"weight": torch.rand(2, 3), "bias": torch.rand(2)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pth")
    for file, kind in (("w.safetensors", "safetensors"), ("w.pth", "state_dict")):
        read = state_of(tmp_path / file, kind)
        assert all(torch.equal(read[k], v) for k, v in state.items())
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:20])
    with pytest.raises(IncompatibleModel):
        state_of(tmp_path / "cut.safetensors", "safetensors")


def test_a_program_that_is_none_is_refused(tmp_path):
    (tmp_path / "no.pt").write_bytes(b"no program")
    for kind in ("torchscript", "exported"):
        with pytest.raises(IncompatibleModel):
            program_of(tmp_path / "no.pt", kind)


@pytest.mark.needs_shared(WEIGHTS)
def test_published_weights_come_over_the_real_path_and_load(tmp_path, monkeypatch):
    known = json.loads((WEIGHTS / "manifest.json").read_text("utf-8"))["weights"]
    entry = next(e for e in known if e["architecture"] == "symnet")
    published = read_card(RESOURCES / "Models" / "symnet.oasis.json")
    with serving((WEIGHTS / entry["file"]).read_bytes()) as server:
        server.cut_after = 1_000_000
        local = published.model_copy(
            update={"weights": published.weights.model_copy(update={"url": server.url})}
        )
        weights.fetch(local, tmp_path)
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path))
    assert weights.verify(published) == "checked"
    assert load_model("symnet.oasis").card == published
    assert load_model("symnet.oasis") is load_model("symnet.oasis")


def test_hashes_are_those_of_the_standard_tools(tmp_path):
    (tmp_path / "f").write_bytes(CONTENT)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(CONTENT).hexdigest()
    git = subprocess.run(
        ["git", "hash-object", str(tmp_path / "f")], capture_output=True, text=True, check=True
    )
    assert weights.git_blob_hash(tmp_path / "f") == git.stdout.strip()


def test_an_unfinished_zip_is_not_mistaken_for_weights(tmp_path):
    buffer = io.BytesIO()
    torch.save({"w": torch.rand(10)}, buffer)
    (tmp_path / "w.pth").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(IncompatibleModel):
        state_of(tmp_path / "w.pth")


def saved_as(kind: str, folder: Path) -> Path:
    """The weights of a layer as other programs save them."""
    state = torch.nn.Linear(3, 2).state_dict()
    path = folder / f"w.{kind}"
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **{name: values.numpy() for name, values in state.items()})
    elif kind == "script":
        layer = torch.nn.Linear(3, 2)
        layer.load_state_dict(state)
        torch.jit.script(layer).save(str(path))
    elif kind == "safetensors":
        safetensors.torch.save_file(state, path)
    elif kind == "compiled":
        torch.save({f"_orig_mod.module.{name}": values for name, values in state.items()}, path)
    else:
        torch.save({f"module.{name}": values for name, values in state.items()}, path)
    return path


@pytest.mark.parametrize("kind", ["parallel", "compiled", "npz", "script", "safetensors"])
def test_weights_as_other_programs_save_them_are_taken(kind, tmp_path):
    torch.manual_seed(3)
    path = saved_as(kind, tmp_path)
    torch.manual_seed(3)
    wanted = torch.nn.Linear(3, 2)
    layer = fill_weights(torch.nn.Linear(3, 2), state_of(path), str(path))
    assert torch.equal(layer.weight, wanted.weight)
    assert torch.equal(layer.bias, wanted.bias)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        (b"\n<!DOCTYPE html><html><title>404</title>", "page of the web"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"\x1f\x8b" + bytes(100), "gzip"),
        (b'{"message": "Not Found"}', "file of text"),
        (b"", "0 bytes"),
    ],
)
def test_what_holds_no_weights_is_called_what_it_is(content, got, tmp_path):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(IncompatibleModel, match=f"got .*{got}") as caught:
        state_of(tmp_path / "w.pt")
    assert "incomplete" not in str(caught.value)


def test_weights_that_are_not_there_are_not_called_incomplete(tmp_path):
    with pytest.raises(UnreadableFile, match=r"no file of weights .*nothere\.pt"):
        state_of(tmp_path / "nothere.pt")
