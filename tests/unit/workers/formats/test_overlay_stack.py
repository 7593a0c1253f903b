"""An overlay of the published layers shows the image, or nothing goes live."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.drawn_layers import DrawnLayers
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.layer_trees import LayerStack
from tests.support.images.reported_images import REPORTED_IMAGES
from workers.cvmfs import Dirent
from workers.formats.chained_layer import chained
from workers.formats.overlay_layer import OverlayForm, overlay_form
from workers.formats.overlay_stack import verify_stack
from workers.images.layers.merge import merge
from workers.images.layers.verify import VerificationFailed

CASES = {**HARD_CASES, **REPORTED_IMAGES}
BASE = [
    tars.directory(b"./", mode=0o700, uid=3),
    tars.directory(b"etc", mode=0o711),
    tars.file(b"etc/passwd", b"root"),
    tars.file(b"gone", b"1"),
    tars.directory(b"opaque"),
    tars.file(b"opaque/old", b"1"),
    tars.directory(b"usr/lib"),
    tars.file(b"usr/lib/libc", b"1"),
    tars.symlink(b"lib", b"usr/lib"),
]
TOP = [
    tars.file(b"etc/hosts", b"2"),
    tars.whiteout(b"gone"),
    tars.opaque(b"opaque"),
    tars.file(b"opaque/new", b"2"),
    tars.directory(b"usr/share", mode=0o750),
]


def forms_of(stack: LayerStack) -> list[OverlayForm]:
    """Return the layers of an image in overlay form, each as it is in the image."""
    return [
        overlay_form(chained(each, merge(stack.layers[:number])))
        for number, each in enumerate(stack.layers)
    ]


@pytest.mark.parametrize("name", CASES)
def test_layers_that_are_hard_to_stack_come_to_the_image(name: str) -> None:
    stack = LayerStack(*CASES[name])
    verify_stack(forms_of(stack), stack.tree)


@given(st.data())
def test_whatever_the_layers_they_come_to_the_image(data: st.DataObject) -> None:
    drawn = DrawnLayers(data)
    stack = LayerStack(*[drawn.layer() for _ in range(data.draw(st.integers(1, 4)))])
    verify_stack(forms_of(stack), stack.tree)


def test_a_symlink_of_a_lower_layer_may_be_hidden_and_its_target_only_then() -> None:
    through = LayerStack(
        BASE, [tars.file(b"lib/libm", b"2"), tars.whiteout(b"lib/libc")]
    )
    verify_stack(forms_of(through), through.tree)
    with pytest.raises(VerificationFailed, match=r"/lib is a directory|/usr/lib/libm"):
        verify_stack(forms_of(LayerStack(BASE, TOP)), through.tree)


_DEVICE = Dirent(stat.S_IFCHR)


@pytest.mark.parametrize(
    ("directory", "name", "dirent", "says"),
    [
        (b"", b"gone", None, "/gone should not be there"),
        (b"", b"etc", _DEVICE, "/etc is missing"),
        (b"", b"opaque", Dirent(stat.S_IFDIR | 0o755), "/opaque/old should not"),
        (b"etc", b"hosts", Dirent(stat.S_IFREG | 0o4755), "/etc/hosts is "),
        (b"etc", b"passwd", _DEVICE, "/etc/passwd is missing"),
        (b"etc", b"more", Dirent(stat.S_IFIFO), "/etc/more should not be there"),
        (b"usr", b"share", Dirent(stat.S_IFDIR | 0o777), "/usr/share is "),
        (b"", b"lib", Dirent(stat.S_IFREG), "/lib is "),
    ],
)
def test_what_an_overlay_shows_otherwise_is_noticed(
    directory: bytes, name: bytes, dirent: Dirent | None, says: str
) -> None:
    stack = LayerStack(BASE, TOP)
    base, top = forms_of(stack)
    changed = dict(top.directory(directory) or {})
    if dirent is None:
        del changed[name]
    else:
        changed[name] = dirent
    top.changed[directory] = changed
    with pytest.raises(VerificationFailed, match=says):
        verify_stack([base, top], stack.tree)


def test_a_root_that_the_uppermost_layer_names_is_compared() -> None:
    stack = LayerStack(BASE, [tars.directory(b"./", mode=0o711)])
    base, top = forms_of(stack)
    verify_stack([base, top], stack.tree)
    other = OverlayForm(top.layer, Dirent(stat.S_IFDIR | 0o755), top.changed)
    with pytest.raises(VerificationFailed, match="/ has other attributes"):
        verify_stack([base, other], stack.tree)


def test_content_of_another_image_is_noticed() -> None:
    """As a hard link to a file of lower layers had it that were another image's."""
    linked = [tars.hard_link(b"alias", b"etc/passwd")]
    other = LayerStack([tars.file(b"etc/passwd", b"attacker's")], linked)
    stack = LayerStack(BASE, linked)
    verify_stack(forms_of(stack), stack.tree)
    with pytest.raises(VerificationFailed, match="/alias is "):
        verify_stack([forms_of(stack)[0], forms_of(other)[1]], stack.tree)


def test_few_of_many_differences_are_shown() -> None:
    stack = LayerStack(BASE, TOP)
    base, _ = forms_of(stack)
    with pytest.raises(VerificationFailed, match=r"(.*; ){3}and more$"):
        verify_stack([base], LayerStack([]).tree)
    verify_stack([], LayerStack([]).tree)


def test_directories_that_are_held_once_are_not_unpacked_to_be_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = LayerStack(BASE)
    stack.layers[0].tree.directories.pack()
    forms, flat = forms_of(stack), merge(stack.layers)
    flat.directories.pack()
    monkeypatch.setattr("workers.formats.overlay_stack._entries", None)
    verify_stack(forms, flat)
