"""Vector instructions for compiled kernels.

The compiler does not find them by itself in loops over a few heads of a few columns, and the
kernels are five times slower without. Each works on ``width`` neighbouring float32 values of a flat
array, where ``width`` is a constant of the kernel; on a machine with narrower registers LLVM splits
them. No bounds are checked.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_CACHE_LINE = 16
_LOWEST = -87.0

BLOCK = 16
"""Edges whose scores are turned into weights at once."""
AHEAD = 16
"""Edges between asking the memory for a row and using it."""
REVISION = crc32(Path(__file__).read_bytes()) | 1
"""Kernels hold it as a constant: machine code on disk is found by a kernel's own file and
constants, and would otherwise outlive a change in this file."""

Emit = Callable[[Any, Sequence[Any]], Any]


def inline(function: Callable[..., Any]) -> Any:
    """A part of kernels: constants that are passed to it stay constants."""
    return njit(inline="always", error_model="numpy")(function)


def _literal(function: Callable[..., Any]) -> Any:
    return intrinsic(prefer_literal=True)(function)


def _instruction(result: Any, arguments: Sequence[Any], emit: Emit) -> Any:
    """A numba intrinsic's signature and code: ``emit`` gets arrays as pointers to float32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        operands = [
            context.make_array(kind)(context, builder, value).data
            if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, values, strict=True)
        ]  # fmt: skip
        out = emit(builder, operands)
        return context.get_dummy_value() if result is types.void else out

    return result(*arguments), generate


def _vector(width: int) -> Any:
    return ir.VectorType(_F32, width)


def _constant(width: int, x: float) -> Any:
    return ir.Constant(_vector(width), [float(np.float32(x))] * width)


def _at(builder: Any, array: Any, offset: Any, width: int) -> Any:
    return builder.bitcast(builder.gep(array, [offset]), _vector(width).as_pointer())


def _load(builder: Any, array: Any, offset: Any, width: int) -> Any:
    return builder.load(_at(builder, array, offset, width), align=4)


def _store(builder: Any, array: Any, offset: Any, value: Any) -> None:
    builder.store(value, _at(builder, array, offset, value.type.count), align=4)


def _splat(builder: Any, x: Any, width: int) -> Any:
    undefined = ir.Constant(_vector(width), ir.Undefined)
    first = builder.insert_element(undefined, x, _I32(0))
    mask = ir.Constant(ir.VectorType(_I32, width), [0] * width)
    return builder.shuffle_vector(first, undefined, mask)


def _call(builder: Any, name: str, result: Any, arguments: Sequence[Any], flags: Any = ()) -> Any:
    known = builder.module.globals.get(name)
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = known or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments, fastmath=flags)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, f"llvm.fma.v{a.type.count}f32", a.type, [a, b, c])


def _sum(builder: Any, x: Any) -> Any:
    name = f"llvm.vector.reduce.fadd.v{x.type.count}f32"
    return _call(builder, name, _F32, [ir.Constant(_F32, 0.0), x], ("reassoc",))


def _exp(builder: Any, x: Any) -> Any:
    """exp to 1e-7 relative; below -87 it is exp(-87). Source: Cephes, expf.c."""
    width = x.type.count
    lowest = _constant(width, _LOWEST)
    x = builder.select(builder.fcmp_ordered("<", x, lowest), lowest, x)  # keeps what is no number
    turns = _fma(builder, x, _constant(width, 1.4426950408889634), _constant(width, 0.5))
    turns = _call(builder, f"llvm.floor.v{width}f32", x.type, [turns])
    rest = _fma(builder, turns, _constant(width, -0.693359375), x)
    rest = _fma(builder, turns, _constant(width, 2.12194440e-4), rest)
    p = _constant(width, 1.9875691500e-4)
    for coefficient in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5):
        p = _fma(builder, p, rest, _constant(width, coefficient))
    p = _fma(builder, p, builder.fmul(rest, rest), rest)
    p = builder.fadd(p, _constant(width, 1.0))
    ints = ir.VectorType(_I32, width)
    exponent = builder.add(builder.fptosi(turns, ints), ir.Constant(ints, [127] * width))
    power = builder.shl(exponent, ir.Constant(ints, [23] * width))
    return builder.fmul(p, builder.bitcast(power, x.type))


@_literal
def dot(_: Any, a: Any, i: Any, b: Any, j: Any, width: Any) -> Any:
    """Inner product of a[i : i + width] and b[j : j + width]."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        left, right = _load(builder, x[0], x[1], w), _load(builder, x[2], x[3], w)
        return _sum(builder, builder.fmul(left, right))

    return _instruction(types.float32, [a, types.int64, b, types.int64, width], emit)


@_literal
def add_scaled(_: Any, out: Any, i: Any, factor: Any, a: Any, j: Any, width: Any) -> Any:
    """out[i : i + width] += factor · a[j : j + width]."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        factor = _splat(builder, x[2], w)
        total = _fma(builder, factor, _load(builder, x[3], x[4], w), _load(builder, x[0], x[1], w))
        _store(builder, x[0], x[1], total)

    arguments = [out, types.int64, types.float32, a, types.int64, width]
    return _instruction(types.void, arguments, emit)


@_literal
def add_four(
    _: Any, out: Any, i: Any, p: Any, o: Any, a: Any, j0: Any, j1: Any, j2: Any, j3: Any, width: Any
) -> Any:
    """out[i : i + width] += Σ_n p[o + n] · a[j_n : j_n + width], for four rows of ``a``."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        def term(n: int) -> tuple[Any, Any]:
            factor = builder.load(builder.gep(x[2], [builder.add(x[3], _I64(n))]))
            return _splat(builder, factor, w), _load(builder, x[4], x[5 + n], w)

        left = _fma(builder, *term(1), builder.fmul(*term(0)))
        right = _fma(builder, *term(3), builder.fmul(*term(2)))
        total = builder.fadd(_load(builder, x[0], x[1], w), builder.fadd(left, right))
        _store(builder, x[0], x[1], total)

    i64 = types.int64
    return _instruction(types.void, [out, i64, p, i64, a, i64, i64, i64, i64, width], emit)


@_literal
def fill(_: Any, out: Any, i: Any, value: Any, width: Any) -> Any:
    """out[i : i + width] = value."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        _store(builder, x[0], x[1], _splat(builder, x[2], w))

    return _instruction(types.void, [out, types.int64, types.float32, width], emit)


@_literal
def copy(_: Any, out: Any, i: Any, a: Any, j: Any, width: Any) -> Any:
    """out[i : i + width] = a[j : j + width]."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        _store(builder, x[0], x[1], _load(builder, x[2], x[3], w))

    return _instruction(types.void, [out, types.int64, a, types.int64, width], emit)


@_literal
def scale(_: Any, out: Any, i: Any, factor: Any, width: Any) -> Any:
    """out[i : i + width] *= factor."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        value = builder.fmul(_load(builder, x[0], x[1], w), _splat(builder, x[2], w))
        _store(builder, x[0], x[1], value)

    return _instruction(types.void, [out, types.int64, types.float32, width], emit)


@_literal
def largest(_: Any, a: Any, i: Any, width: Any) -> Any:
    """Maximum of a[i : i + width]."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        value = _load(builder, x[0], x[1], w)
        name = f"llvm.vector.reduce.fmax.v{w}f32"
        return _call(builder, name, _F32, [value], ("nnan",))

    return _instruction(types.float32, [a, types.int64, width], emit)


@_literal
def exponentials(_: Any, out: Any, i: Any, top: Any, width: Any) -> Any:
    """out[i : i + width] = exp(out[i : i + width] - top); gives their sum."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        value = builder.fsub(_load(builder, x[0], x[1], w), _splat(builder, x[2], w))
        value = _exp(builder, value)
        _store(builder, x[0], x[1], value)
        return _sum(builder, value)

    return _instruction(types.float32, [out, types.int64, types.float32, width], emit)


@_literal
def weigh(_: Any, p: Any, g: Any, i: Any, width: Any) -> Any:
    """p = exp(p), g = p · g over [i : i + width]."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        weight = _exp(builder, _load(builder, x[0], x[2], w))
        _store(builder, x[0], x[2], weight)
        _store(builder, x[1], x[2], builder.fmul(weight, _load(builder, x[1], x[2], w)))

    return _instruction(types.void, [p, g, types.int64, width], emit)


@_literal
def exponential(_: Any, x: Any) -> Any:
    """exp(x) of one value, to the bit as in vectors."""

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        return builder.extract_element(_exp(builder, _splat(builder, x[0], 4)), _I32(0))

    return _instruction(types.float32, [types.float32], emit)


@_literal
def prefetch(_: Any, a: Any, i: Any, width: Any) -> Any:
    """Ask the memory for a[i : i + width] ahead of its use."""
    w = width.literal_value

    def emit(builder: Any, x: Sequence[Any]) -> Any:
        start = builder.gep(x[0], [x[1]])
        for column in range(0, w, _CACHE_LINE):
            line = builder.bitcast(builder.gep(start, [_I64(column)]), ir.IntType(8).as_pointer())
            _call(builder, "llvm.prefetch.p0", ir.VoidType(), [line, _I32(0), _I32(3), _I32(1)])

    return _instruction(types.void, [a, types.int64, width], emit)
