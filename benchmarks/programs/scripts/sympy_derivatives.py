"""SymPy, 16 derivatives simplified, 90 ms each"""

import sympy

from benchmarks.programs.measure import measure


def prepare(turn):
    return [
        f"(x**{2 + i % 4} + {i + 16 * turn}*x - 1)/(x**2 + {1 + i % 7}*x + {i + 1})"
        for i in range(16)
    ]


def slope(text):
    x = sympy.Symbol("x")
    found = sympy.together(sympy.diff(sympy.sympify(text), x, 2))
    return str(sympy.apart(sympy.factor(found), x))


def program(map_, texts):
    return map_(slope, texts)


if __name__ == "__main__":
    measure(prepare, program)
