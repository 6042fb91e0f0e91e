"""The examples of RFC 6902 and RFC 7396, and patches that mean harm."""

import copy
from typing import Any

import pytest

from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.records.errors import PatchError
from undercroft.vault.records.patches import apply_merge_patch, apply_patch, check_patch

# RFC 7396, appendix A.
MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]

# RFC 6902, appendix A; where it has an error, the result is None.
PATCHES: dict[str, tuple[Any, list[dict[str, Any]], Any]] = {
    "A.1": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux"}],
        {"baz": "qux", "foo": "bar"},
    ),
    "A.2": (
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    "A.3": ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    "A.4": (
        {"foo": ["bar", "qux", "baz"]},
        [{"op": "remove", "path": "/foo/1"}],
        {"foo": ["bar", "baz"]},
    ),
    "A.5": (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    "A.6": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [
            {"op": "test", "path": "/baz", "value": "qux"},
            {"op": "test", "path": "/foo/1", "value": 2},
        ],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.9": ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], None),
    "A.10": (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    "A.11": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    "A.12": ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], None),
    "A.14": (
        {"/": 9, "~1": 10},
        [{"op": "test", "path": "/~01", "value": 10}],
        {"/": 9, "~1": 10},
    ),
    "A.15": ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], None),
    "A.16": (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
    "true is not 1": ({"a": True}, [{"op": "test", "path": "/a", "value": 1}], None),
    "1 is 1.0": ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
    "a number is no name": ({"a": [1]}, [{"op": "remove", "path": "/a/01"}], None),
    "minus one": ({"a": [1]}, [{"op": "remove", "path": "/a/-1"}], None),
    "past the end": ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}], None),
    "the end is no element": ({"a": [1]}, [{"op": "remove", "path": "/a/-"}], None),
    "below a text": ({"a": "b"}, [{"op": "add", "path": "/a/b", "value": 1}], None),
    "into itself": ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/c"}], None),
    "onto itself": ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    "the whole": ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    "the whole away": ({"a": 1}, [{"op": "remove", "path": ""}], None),
    "replacing nothing": ({}, [{"op": "replace", "path": "/a", "value": 1}], None),
    "all or nothing": (
        {"a": 1},
        [{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/a"}],
        None,
    ),
}


@pytest.mark.parametrize(("target", "patch", "expected"), MERGES)
def test_merge_patches_of_the_rfc(target: Any, patch: Any, expected: Any) -> None:  # noqa: ANN401 - any JSON
    before = copy.deepcopy(target)
    assert apply_merge_patch(target, patch) == expected
    assert target == before


@pytest.mark.parametrize("name", PATCHES)
def test_json_patches_of_the_rfc(name: str) -> None:
    target, operations, expected = PATCHES[name]
    before = copy.deepcopy(target)
    if expected is None:
        with pytest.raises(PatchError):
            apply_patch(target, check_patch(operations))
    else:
        assert apply_patch(target, check_patch(operations)) == expected
    assert target == before


@pytest.mark.parametrize(
    "patch",
    [
        {},
        [1],
        [{"op": "grow", "path": ""}],
        [{"op": ["add"], "path": ""}],
        [{"op": "add", "path": "/a"}],
        [{"op": "remove"}],
        [{"op": "remove", "path": 1}],
        [{"op": "remove", "path": "a"}],
        [{"op": "remove", "path": "/~2"}],
        [{"op": "move", "path": "/a"}],
        [{"op": "remove", "path": "/a"}] * 1001,
    ],
)
def test_what_is_no_patch_is_refused(patch: object) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_patch(patch)
    assert refused.value.code == "invalid_patch"


def test_copies_do_not_grow_without_bound() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40
    with pytest.raises(PatchError, match="512 KiB"):
        apply_patch({"a": ["x" * 100]}, check_patch(doubling))


def test_moves_do_not_nest_without_bound() -> None:
    nesting: list[dict[str, Any]] = []
    for _ in range(490):
        nesting += [
            {"op": "add", "path": "/b", "value": {"c": {"d": {"e": {}}}}},
            {"op": "move", "from": "/a", "path": "/b/c/d/e/f"},
            {"op": "move", "from": "/b", "path": "/a"},
        ][: 3 if len(nesting) < 990 else 0]
    nesting.append({"op": "copy", "from": "/a", "path": "/z"})
    with pytest.raises(PatchError, match="deep"):
        apply_patch({"a": 1}, check_patch(nesting[:1000]))


def test_what_is_added_is_not_shared_with_the_patch() -> None:
    value: list[int] = []
    operations = [
        {"op": "add", "path": "/a", "value": value},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "add", "path": "/a/-", "value": 1},
    ]
    assert apply_patch({}, check_patch(operations)) == {"a": [1], "b": []}
    assert value == []
