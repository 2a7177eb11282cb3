"""CHANGELOG.md is counted, and keeps what people wrote in it."""

from curation.release import changelog
from curation.release.diff import compare
from curation.release.manifest import Manifest
from curation.release.versions import Published

IDS = [f"{n:064x}" for n in range(9)]


def row(**changes):
    return {
        "class": "ostrich", "background": "grass", "group": "common",
        "licence": "CC0-1.0",
    } | changes  # fmt: skip


FIRST = Published("1.0.0", Manifest({key: row() for key in IDS[:4]}))
SECOND = Published(
    "2.0.0",
    Manifest(
        {
            IDS[1]: row(),
            IDS[2]: row(background="water", group="counter"),
            IDS[3]: row(licence="CC-BY-4.0"),
            IDS[4]: row(group="unused"),
            IDS[5]: row(**{"class": "a|b <i>"}),
        }
    ),
)
FIRST_SECTION = """\
## 1.0.0

<!-- counted -->
First version: 4 photos (4 common), 1 classes.
<!-- /counted -->
"""
SECOND_SECTION = r"""## 2.0.0

<!-- counted -->
Since 1.0.0: 2 added, 1 removed, 1 relabelled, 1 with a changed licence or credit. Photos: 4 before, 5 now.

| class | group | added | removed | relabelled |
|---|---|---:|---:|---:|
| a\|b &lt;i&gt; | common | 1 | 0 | 0 |
| ostrich | common | 0 | 1 | 0 |
| ostrich | counter | 0 | 0 | 1 |
| ostrich | unused | 1 | 0 | 0 |

| relabelled | from | to | photos |
|---|---|---|---:|
| background | grass | water | 1 |
| group | common | counter | 1 |
<!-- /counted -->
"""  # noqa: E501 - a line of Markdown


def test_a_first_version():
    text = changelog.render("1.0.0", FIRST.manifest)
    assert text == f"# Changelog\n\n{FIRST_SECTION}"


def test_the_difference_and_what_was_before():
    text = changelog.render("2.0.0", SECOND.manifest, past=[FIRST])
    assert text == f"# Changelog\n\n{SECOND_SECTION}\n{FIRST_SECTION}"
    # the same again from the file itself, and one version on
    assert text == changelog.render(
        "2.0.0", SECOND.manifest, past=[FIRST], history=text
    )
    third = changelog.render("2.0.1", SECOND.manifest, past=[FIRST, SECOND])
    assert "Since 2.0.0: no photo changed. Photos: 5 before, 5 now." in third
    assert third.endswith(f"{SECOND_SECTION}\n{FIRST_SECTION}")


def test_no_photo_that_was_removed_is_named():
    text = changelog.render("2.0.0", SECOND.manifest, past=[FIRST])
    assert not any(photo in text for photo in IDS)


def test_words_and_headings_of_people_stay():
    history = (
        "# What changed\n\nAll of it.\n\n## [2.0.0] - in spring\n\n<!-- counted -->\n"
        "old numbers\n<!-- /counted -->\n\nWe asked everyone again.\n\n## v1.0.0\n\n"
        "The beginning.\n\n### Thanks\n\nto all\n\n## 0.9.0\n\nOnly among us.\n"
    )
    text = changelog.render("2.0.0", SECOND.manifest, past=[FIRST], history=history)
    counted = SECOND_SECTION.removeprefix("## 2.0.0\n\n")
    assert text == (
        "# What changed\n\nAll of it.\n\n## [2.0.0] - in spring\n\n"
        f"{counted}\nWe asked everyone again.\n\n## v1.0.0\n\n"
        "The beginning.\n\n### Thanks\n\nto all\n\n## 0.9.0\n\nOnly among us.\n"
    )
    again = changelog.render("2.0.0", SECOND.manifest, past=[FIRST], history=text)
    assert again == text


def test_versions_are_in_order_whatever_the_file_says():
    history = "## 1.9.0\n\na\n\n## 1.10.0\n\nb\n"
    text = changelog.render("1.2.0", FIRST.manifest, history=history)
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## 1.10.0", "## 1.9.0", "## 1.2.0"]


def test_one_section_alone():
    told = changelog.section(compare(FIRST.manifest, SECOND.manifest), "2.0.0")
    assert told.splitlines()[1].startswith("In 2.0.0: 2 added, 1 removed")
