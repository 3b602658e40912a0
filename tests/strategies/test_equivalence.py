"""Equivalence of formulas by algebra: tables over the answer forms of MATH, and symmetry."""

import itertools
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.equivalence import equivalent

EQUAL = [
    ("2\\pi", "\\pi*2"),
    ("x+1", "1+x"),
    ("2\\sqrt{2}", "\\sqrt{8}"),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"),
    ("\\sqrt{25}", "5"),
    ("(x+1)^2", "x^2+2x+1"),
    ("6r^2-4r-24", "2(3r^2-2r-12)"),
    ("\\frac{11+9a}{20}", "\\dfrac{9a + 11}{20}"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}"),
    ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1+\\sqrt5, 1-\\sqrt5"),
    ("6-5i", "-5i+6"),
    ("\\cot x", "\\frac{1}{\\tan x}"),
    ("\\frac{4}{3}\\pi*6^3", "288 \\pi"),
    ("(3, \\frac{\\pi}{2})", "\\left(3,\\pi/2\\right)"),
    ("(2,\\infty)", "x>2"),
    ("(-\\infty,2) \\cup (3,\\infty)", "(-\\infty,2)\\cup(3,+\\infty)"),
    (
        "\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}",
        "\\begin{pmatrix} -\\frac{1}{3} \\\\ \\frac{2}{3} \\end{pmatrix}",
    ),
    ("y = 2x + 3", "2x+3"),
    ("5x - 7y + 4 = 0", "4 - 7y + 5x = 0"),
    ("10!", "3628800"),
    ("\\binom{5}{2}", "10"),
    ("2^{10}", "1024"),
    ("5+6=11", "11"),
    ("4210_5", "4210"),
    ("0.333333", "\\frac{\\sqrt{9}}{9}"),
    ("1,000", "1000.0"),
    ("\\text{Evelyn}", "evelyn"),
]

UNEQUAL = [
    ("p-q", "q-p"),
    ("x", "y"),
    ("x^2", "2x"),
    ("\\pi", "3.14"),
    ("\\sqrt{2}", "-\\sqrt{2}"),
    ("[0,\\pi]", "(0,\\pi)"),
    ("(1,\\pi)", "(\\pi,1)"),
    ("52_8", "52_9"),
    ("5+6=12", "12"),
    ("(6-4)*5+14=24", "4*6=24"),
    ("0.\\overline{3}", "0"),
    ("10", "10^{\\frac{1}{2}}{4}}"),
    ("1/3", "0.33"),
    ("5", "evelyn"),
    ("x+1", "no solution"),
    ("", ""),
    ("x", ""),
    ("\\frac{", "\\sqrt{"),
    ("x+1", "((((("),
]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal_formulas_are_recognised(a, b):
    """Formulas that algebra makes one are equivalent, in either order."""
    assert equivalent(a, b)
    assert equivalent(b, a)


@pytest.mark.parametrize(("a", "b"), UNEQUAL)
def test_different_formulas_stay_apart(a, b):
    """Formulas that differ, that mislead the parser, or that are none are not equivalent, in either order."""
    assert not equivalent(a, b)
    assert not equivalent(b, a)


FORMULAS = sorted(set(itertools.chain.from_iterable(EQUAL + UNEQUAL)))


@given(st.sampled_from(FORMULAS), st.sampled_from(FORMULAS))
@settings(max_examples=60)
def test_equivalence_is_symmetric(a, b):
    """Which of two answers came first does not matter."""
    assert equivalent(a, b) == equivalent(b, a)


@given(st.text("x12+-/()\\{}=, ", max_size=12), st.text("x12+-/()\\{}=, ", max_size=12))
@settings(max_examples=60)
def test_broken_formulas_are_compared_without_raising(a, b):
    """Whatever a model writes for a formula, the comparison has a verdict, and the same one in both orders."""
    assert equivalent(a, b) is equivalent(b, a)


def test_algebra_is_imported_only_when_needed():
    """Importing the module, and comparing numbers and words, leaves sympy alone: it is slow to import."""
    script = (
        "import sys; from strategies.equivalence import equivalent; "
        "assert equivalent('0.5', '1/2') and not equivalent('red', 'blue'); sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
