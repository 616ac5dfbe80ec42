import numpy as np

from ml.graph.growing_array import GrowingArray


def test_an_array_grows_and_shrinks():
    array = GrowingArray(np.zeros((2, 3), np.float32), -1)
    array.values[:] = 7
    array.grow(200)
    assert array.values[:2].min() == 7
    assert array.values[2:].max() == -1
    array.values[:] = 5
    array.shrink(1)
    array.grow(3)
    assert array.values.tolist() == [[5] * 3, [-1] * 3, [-1] * 3]


def test_an_array_never_shrinks_by_growing():
    array = GrowingArray(np.arange(5))
    array.grow(3)
    assert len(array) == 5
    assert array.values.tolist() == [0, 1, 2, 3, 4]
