"""The Python interface: `import evaluation` is cheap, and all it names is there."""

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import evaluation


@pytest.mark.parametrize("name", evaluation.__all__)
def test_everything_named_is_there_and_documented(name):
    assert getattr(evaluation, name).__doc__


def test_no_name_is_a_modules():
    modules = {module.name for module in pkgutil.iter_modules(evaluation.__path__)}
    assert not modules & set(evaluation.__all__)


def test_a_module_imported_later_does_not_take_a_names_place():
    before = evaluation.evaluate
    importlib.import_module("evaluation.benchmark")
    assert evaluation.evaluate is before


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'evaluat'"):
        evaluation.evaluat  # noqa: B018


def test_importing_it_imports_nothing_heavy():
    code = """
import json, sys
import evaluation
heavy = ("torch", "numpy", "polars", "pyarrow", "matplotlib", "scipy", "open_clip")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
