"""What a computing process inherits."""

from __future__ import annotations


def test_a_variable_that_is_not_text_is_left_out_and_the_others_arrive(
    the_application, monkeypatch
):
    from NeuralRegistrationLib.Worker import WorkerProcess

    given = {"GOOD": "ü", "BAD": b"\xff".decode("utf-8", "surrogateescape")}
    monkeypatch.setattr(WorkerProcess, "environment", lambda mark: given)
    variables = WorkerProcess.surroundings("mark")
    assert variables.value("GOOD") == "ü"
    assert not variables.contains("BAD")
