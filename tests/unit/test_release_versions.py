"""Which version may follow which, and what was published from a work folder."""

import pytest

from curation.errors import ConfigError, InputError
from curation.release import manifest, versions
from curation.release.diff import compare
from curation.release.manifest import Manifest

ROW = {"class": "c", "background": "b", "group": "common", "licence": "CC0-1.0"}
IDS = [f"{n:064x}" for n in range(4)]
ONE = Manifest({IDS[0]: ROW, IDS[1]: ROW})
CASES = {
    "removed": Manifest({IDS[0]: ROW}),
    "relabelled": Manifest({IDS[0]: ROW, IDS[1]: ROW | {"group": "unused"}}),
    "added": Manifest({key: ROW for key in IDS[:3]}),
    "licence": Manifest({IDS[0]: ROW, IDS[1]: ROW | {"licence": "CC-BY-4.0"}}),
    "nothing": ONE,
}


@pytest.mark.parametrize(
    ("case", "due", "why"),
    [
        ("removed", "2.0.0", "1 photo is removed"),
        ("relabelled", "2.0.0", "1 photo is relabelled"),
        ("added", "1.5.0", "1 photo is added"),
        ("licence", "1.4.8", "only texts or credits changed"),
        ("nothing", "1.4.8", "only texts or credits changed"),
    ],
)
def test_a_version_too_small_is_refused_with_the_least_one(case, due, why):
    found = compare(ONE, CASES[case])
    versions.check(found, before="v1.4.7", stated=due)
    versions.check(found, before="1.4.7", stated="10.0.0")
    smaller = {"2.0.0": "1.99.99", "1.5.0": "1.4.99", "1.4.8": "1.4.7"}[due]
    for stated in (smaller, "1.4.7", "0.9.0"):
        with pytest.raises(ConfigError, match=rf"{due} is the least, for .*{why}"):
            versions.check(found, before="v1.4.7", stated=stated)


def test_without_any_difference_the_version_may_stay_but_not_fall():
    found = compare(ONE, ONE)
    versions.check(found, before="1.4.7", stated="1.4.7", files=False)
    with pytest.raises(ConfigError, match="1\\.4\\.7 is the least"):
        versions.check(found, before="1.4.7", stated="1.4.6", files=False)


@pytest.mark.parametrize("text", ["1.0", "1.0.0-rc1", "01.0.0", "v", "", "1.0.0\n"])
def test_what_is_no_version(text):
    with pytest.raises(InputError, match="no version"):
        versions.parts(text)


def test_what_was_published(tmp_path):
    assert versions.past(tmp_path, "9.0.0") == ()
    for version, photos in (("1.9.0", 1), ("1.10.0", 2), ("2.0.0", 3), ("draft", 4)):
        folder = tmp_path / "published" / version
        folder.mkdir(parents=True)
        lines = [",".join(manifest.COLUMNS)]
        lines += [f"{key},c,b,common,CC0-1.0" for key in IDS[:photos]]
        (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    assert list(versions.published(tmp_path)) == ["1.9.0", "1.10.0", "2.0.0"]
    found = versions.past(tmp_path, "2.0.0")
    assert [(one.version, len(one.manifest.rows)) for one in found] == [
        ("1.9.0", 1), ("1.10.0", 2),
    ]  # fmt: skip
    assert versions.holding(tmp_path, [IDS[1]]) == ["1.10.0", "2.0.0"]
    assert versions.holding(tmp_path, [IDS[3]]) == []
