"""Expressions over the columns of a table, as claims write them: a small language that cannot run code.

Names of columns, numbers, texts, lists of these after ``in``, comparisons, ``and``, ``or``, ``not``,
arithmetic, and the functions of ``FUNCTIONS``. No attributes, no subscripts and no calls of anything
else, so a claims file that somebody was given can do no harm.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name)
    for name in (
        "abs",
        "sqrt",
        "exp",
        "log",
        "log10",
        "log2",
        "sin",
        "cos",
        "tan",
        "arcsin",
        "arccos",
        "arctan",
        "tanh",
    )
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_LONGEST, _LARGEST_POWER = 1000, 100


class ExpressionError(ValueError):
    """An expression that this language does not have, or that names no column."""


def evaluate(text: str, frame: pd.DataFrame) -> Any:
    """Return the value of an expression on every row of a table.

    Args:
        text: the expression, at most 1,000 characters.
        frame: its columns are the names.

    Returns:
        A Series with an entry for each row, or one number where no column is named.

    Raises:
        ExpressionError: what is not part of the language, or no column; says what is allowed.
    """
    if len(text) > _LONGEST:
        raise ExpressionError(f"it has {len(text)} characters; allowed: at most {_LONGEST}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"it is no expression: {error}") from None
    return _value(tree, frame)


def _value(node: ast.expr, frame: pd.DataFrame) -> Any:
    if isinstance(node, ast.Constant):
        return _constant(node)
    if isinstance(node, ast.Name):
        return _column(node.id, frame)
    if isinstance(node, ast.UnaryOp):
        return _unary(node, frame)
    if isinstance(node, ast.BinOp):
        return _binary(node, frame)
    if isinstance(node, ast.BoolOp):
        join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
        values = [_value(one, frame) for one in node.values]
        result = values[0]
        for value in values[1:]:
            result = join(result, value)
        return result
    if isinstance(node, ast.Compare):
        return _comparison(node, frame)
    if isinstance(node, ast.Call):
        return _call(node, frame)
    raise _refused(node)


def _constant(node: ast.Constant) -> Any:
    if isinstance(node.value, bool | int | float | str):
        return node.value
    raise _refused(node)


def _column(name: str, frame: pd.DataFrame) -> pd.Series:
    if name not in frame:
        raise ExpressionError(f"name {name!r} is not defined")
    return frame[name]


def _unary(node: ast.UnaryOp, frame: pd.DataFrame) -> Any:
    value = _value(node.operand, frame)
    if isinstance(node.op, ast.Not):
        return ~value if isinstance(value, pd.Series) else not value
    if isinstance(node.op, ast.USub):
        return -_number(value)
    raise _refused(node)


def _binary(node: ast.BinOp, frame: pd.DataFrame) -> Any:
    if type(node.op) not in _ARITHMETIC:
        raise _refused(node)
    left, right = (_number(_value(side, frame)) for side in (node.left, node.right))
    if isinstance(node.op, ast.Pow):
        if not isinstance(right, int | float) or abs(right) > _LARGEST_POWER:
            raise ExpressionError(f"the power {ast.unparse(node)}; allowed: a number up to {_LARGEST_POWER}")
        left = float(left) if isinstance(left, int) else left  # a whole number could fill the memory
    return _ARITHMETIC[type(node.op)](left, right)


def _number(value: Any) -> Any:
    if isinstance(value, str):
        raise ExpressionError(f"the text {value!r} in arithmetic; allowed: comparisons of texts")
    return value


def _comparison(node: ast.Compare, frame: pd.DataFrame) -> Any:
    result: Any = None
    left = _value(node.left, frame)
    for kind, other in zip(node.ops, node.comparators, strict=True):
        if isinstance(kind, ast.In | ast.NotIn):
            if not isinstance(other, ast.List | ast.Tuple) or not isinstance(left, pd.Series):
                raise ExpressionError(f"{ast.unparse(node)}; allowed: a column `in` a list of values")
            found = left.isin([_value(one, frame) for one in other.elts])
            right, one = left, ~found if isinstance(kind, ast.NotIn) else found
        elif type(kind) in _COMPARISONS:
            right = _value(other, frame)
            one = _COMPARISONS[type(kind)](left, right)
        else:
            raise _refused(node)
        result, left = one if result is None else result & one, right
    return result


def _call(node: ast.Call, frame: pd.DataFrame) -> Any:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if not isinstance(node.func, ast.Name) or name not in FUNCTIONS or len(node.args) != 1 or node.keywords:
        raise ExpressionError(
            f"the call {ast.unparse(node)}; allowed, of one argument: {', '.join(FUNCTIONS)}"
        )
    return FUNCTIONS[name](_number(_value(node.args[0], frame)))


def _refused(node: ast.expr) -> ExpressionError:
    return ExpressionError(
        f"{ast.unparse(node)!r} ({type(node).__name__}); allowed: columns, numbers, texts, comparisons, "
        f"and, or, not, arithmetic, and the functions {', '.join(FUNCTIONS)}"
    )
