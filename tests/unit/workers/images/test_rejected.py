"""Why an image was rejected is told on one line."""

import pytest

from tests.support.images import tars
from tests.support.images.layer_trees import layer
from workers.images.rejected import ImageRejected


def test_messages_show_names_on_one_line_and_cut_them() -> None:
    with pytest.raises(ImageRejected) as caught:
        layer(tars.gnu_name(b"../\n\x1b[31m\xff" + b"n" * 9000, tars.file(b"x")))
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
