"""Figures of the engines: who is put beside whom."""

from benchmarks.engines import Case, Took, figures


def took(rate: float) -> Took:
    return Took(start=1.0, rate=rate, cpu=0.01, starting=1.0, table=900.0)


def test_engines_stand_beside_local_and_several_workers_beside_one():
    cases = [
        Case(stage, engine, workers)
        for stage in ("hash", "embed")
        for engine in ("local", "processes", "ray")
        for workers in (1, 2)
    ]
    found = {case: [took(rate), took(2 * rate)] for rate, case in enumerate(cases, 1)}
    made = {one.name: one for one in figures(found, "photos")}
    pairs = {
        name.removeprefix("engines.hash."): one
        for name, one in made.items()
        if one.theirs and name.startswith("engines.hash.")
    }
    assert set(pairs) == {
        "local.2.beside.local.1",
        "processes.1.beside.local.1",
        "processes.2.beside.local.2",
        "processes.2.beside.processes.1",
        "ray.1.beside.local.1",
        "ray.2.beside.local.2",
        "ray.2.beside.ray.1",
    }
    scaled = pairs["ray.2.beside.ray.1"]
    assert (scaled.ours, scaled.theirs) == ((6.0, 12.0), (5.0, 10.0))
    assert scaled.peer == "--engine ray, 1 node of a core"
    assert len(made) == 3 * len(cases) + 2 * len(pairs)
