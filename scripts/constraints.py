"""Write constraints.txt: the versions in this environment, names and versions only.

    make constraints

Run it after the tests have passed, so that the file says what was tested together.
"""

import re
from importlib.metadata import distributions
from pathlib import Path

HEADER = """\
# Versions that were tested together. Written by `make constraints`; do not edit.
# A constraint installs nothing: it only says which version, if the package is needed.
"""
LEFT_OUT = {"counterset", "pip"}


def lines() -> list[str]:
    """`name==version` of every installed distribution, sorted, local parts cut off."""
    found = {
        re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d.version.partition("+")[0]
        for d in distributions()
    }
    return [f"{name}=={found[name]}" for name in sorted(found.keys() - LEFT_OUT)]


def main() -> None:
    """Write the file at the root of the repository."""
    path = Path(__file__).parents[1] / "constraints.txt"
    path.write_text(HEADER + "\n".join(lines()) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(lines())} packages")


if __name__ == "__main__":
    main()
