"""JSON of any shape, and good answers with something wrong in them, for hypothesis."""

import copy
import json
import re

from hypothesis import strategies as st

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["http://", "https://[", "http://a.b/c.jpg", "<b", "a@b.org", "\ud800", "1e999"]
    )
)

anything = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def damaged(draw, good):
    """A good answer in which up to four values were replaced or taken out."""
    answer = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 4))):
        where = answer
        while True:
            places = (
                sorted(where) if isinstance(where, dict) else list(range(len(where)))
            )
            if not places:
                break
            place = draw(st.sampled_from(places))
            inner = where[place]
            if isinstance(inner, dict | list) and inner and draw(st.booleans()):
                where = inner
                continue
            if isinstance(where, dict) and draw(st.booleans()):
                del where[place]
            else:
                where[place] = draw(anything)
            break
    return answer


def keepable(page):
    """Fails unless everything in a page can be written down and read again."""
    assert page.cursor is None or isinstance(json.loads(page.cursor), dict)
    for candidate in page.candidates:
        assert len(candidate.candidate_id) == 64
        assert candidate.refused or candidate.url.startswith(("http://", "https://"))
        assert candidate.refused or candidate.licence
        for name in candidate.__slots__:
            value = getattr(candidate, name)
            if isinstance(value, str):
                assert value.encode().decode() == value
                assert not re.search("[\x00-\x1f]", value)
            else:
                assert value is None or isinstance(value, bool | float)
