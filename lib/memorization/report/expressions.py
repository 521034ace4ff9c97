"""Expressions over the columns of a table, as claims write them: a small language that cannot run code.

Names of columns, numbers, texts, lists of these after ``in``, comparisons, ``and``, ``or``, ``not``,
arithmetic, and the functions of ``FUNCTIONS``. No attributes, no subscripts and no calls of anything
else, so a claims file that somebody was given can do no harm. What an expression says is looked at when
the file is read (``parsed``), what it means when there are records (``values``, ``select``).
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memorization.checks import check_choice

_NAMES = (
    "abs", "sqrt", "exp", "log", "log10", "log2", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "tanh",
)  # fmt: skip
FUNCTIONS: dict[str, Callable[[Any], Any]] = {name: getattr(np, name) for name in _NAMES}
_TWO_SIDED: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.And: operator.and_,
    ast.Or: operator.or_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_WORDS = (*_TWO_SIDED, ast.In, ast.NotIn, ast.Not, ast.USub, ast.Load)
_PARTS = (ast.Name, ast.Constant, ast.List, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.Call)
_LONGEST, _LARGEST_POWER = 1000, 100


class ExpressionError(ValueError):
    """What this language does not have, or what the columns of a table do not give."""


def parsed(text: str) -> ast.expr:
    """Return the syntax tree of an expression of at most 1,000 characters.

    Raises:
        ExpressionError: it holds what is not part of the language; says what is allowed.
    """
    if len(text) > _LONGEST:
        raise ExpressionError(f"an expression of {len(text)} characters; allowed: at most {_LONGEST}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{text!r} is no expression: {error}") from None
    for node in nodes:
        if not isinstance(node, (*_PARTS, *_WORDS)):
            raise ExpressionError(
                f"{text!r} holds {type(node).__name__}; allowed: columns, numbers, texts, comparisons, lists "
                f"after `in`, and, or, not, arithmetic, and the functions {', '.join(FUNCTIONS)}"
            )
        if isinstance(node, ast.Constant) and not isinstance(node.value, bool | int | float | str):
            raise ExpressionError(f"{text!r} holds {node.value!r}; allowed: numbers, texts, True and False")
        if isinstance(node, ast.Call) and not _known(node):
            raise ExpressionError(f"{text!r} holds a call; allowed, of one argument: {', '.join(FUNCTIONS)}")
    return tree


def _known(node: ast.Call) -> bool:
    named = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
    return named and len(node.args) == 1 and not node.keywords


def values(text: str, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the value of an expression in each row, shape (rows,).

    Raises:
        ExpressionError: it is not part of the language, names no column, or has no number as value.
    """
    found = _found(text, frame)
    try:
        return np.broadcast_to(np.asarray(found, dtype=float), len(frame)).copy()
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ExpressionError(f"{text!r} is no number in each row: {error}") from None


def select(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return the rows in which an expression is true.

    Raises:
        ExpressionError: it is not part of the language, names no column, or is not true or false.
    """
    found = _found(text, frame)
    return frame[np.broadcast_to(np.asarray(_truth(found), dtype=bool), len(frame))]


def check_column(name: str, frame: pd.DataFrame) -> None:
    """Raise an ExpressionError unless a table has this column; those of provenance, ``_…``, do not count."""
    try:
        check_choice("column", name, [str(column) for column in frame if not str(column).startswith("_")])
    except ValueError as error:
        raise ExpressionError(str(error)) from None


def _found(text: str, frame: pd.DataFrame) -> Any:
    try:
        return _value(parsed(text), frame)
    except (TypeError, ArithmeticError, RecursionError) as error:
        raise ExpressionError(f"{text!r} has no value: {error}") from None


def _value(node: ast.expr, frame: pd.DataFrame) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            check_column(node.id, frame)
            return frame[node.id]
        case ast.UnaryOp(op=ast.Not()):
            return operator.xor(_truth(_value(node.operand, frame)), True)
        case ast.UnaryOp():
            return -_number(_value(node.operand, frame))
        case ast.BinOp():
            return _arithmetic(node, *(_number(_value(side, frame)) for side in (node.left, node.right)))
        case ast.BoolOp():
            return reduce(_TWO_SIDED[type(node.op)], [_truth(_value(one, frame)) for one in node.values])
        case ast.Compare():
            return _comparison(node, frame)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name](_number(_value(node.args[0], frame)))
    raise ExpressionError(f"{ast.unparse(node)}: a list; allowed: after `in`")


def _arithmetic(node: ast.BinOp, left: Any, right: Any) -> Any:
    if isinstance(node.op, ast.Pow):
        if not isinstance(right, int | float) or abs(right) > _LARGEST_POWER:
            raise ExpressionError(f"the power {ast.unparse(node)}; allowed: a number up to {_LARGEST_POWER}")
        left = float(left) if isinstance(left, int) else left  # a whole number could fill the memory
    return _TWO_SIDED[type(node.op)](left, right)


def _comparison(node: ast.Compare, frame: pd.DataFrame) -> Any:
    found, left = [], _value(node.left, frame)
    for kind, side in zip(node.ops, node.comparators, strict=True):
        if isinstance(kind, ast.In | ast.NotIn):
            listed = [_value(one, frame) for one in side.elts] if isinstance(side, ast.List) else [frame]
            if not isinstance(left, pd.Series) or any(
                isinstance(one, pd.Series | pd.DataFrame) for one in listed
            ):
                raise ExpressionError(f"{ast.unparse(node)}; allowed: a column `in` a list of values")
            inside = left.isin(listed)
            found.append(inside if isinstance(kind, ast.In) else ~inside)
        else:
            right = _value(side, frame)
            found.append(_TWO_SIDED[type(kind)](left, right))
            left = right
    return reduce(operator.and_, found)


def _number(value: Any) -> Any:
    """Refuse texts and lists: repeated by a large number they would fill the memory."""
    if isinstance(value, str) or (isinstance(value, pd.Series) and not pd.api.types.is_numeric_dtype(value)):
        raise ExpressionError("a text or a list in arithmetic; allowed: numbers, and comparisons of texts")
    return value


def _truth(value: Any) -> Any:
    if isinstance(value, bool | np.bool_) or (isinstance(value, pd.Series) and value.dtype == bool):
        return value
    raise ExpressionError("a number or a text where true or false is meant; allowed: a comparison")
