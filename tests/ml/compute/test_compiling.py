import numpy as np
import pytest

from ml.compute.compiling import kernel


def test_a_kernel_computes_where_nothing_can_be_kept(monkeypatch):
    def nowhere(*args, **kwargs):
        raise RuntimeError("cannot cache function 'total': no locator available")

    monkeypatch.setattr("ml.compute.compiling.FunctionCache", nowhere)

    @kernel
    def total(x):
        out = 0.0
        for i in range(len(x)):
            out += x[i]
        return out

    assert total(np.arange(4.0)) == 6.0


def test_another_failure_is_told(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr("ml.compute.compiling.FunctionCache", broken)
    with pytest.raises(RuntimeError, match="disk on fire"):
        kernel(lambda x: x)
