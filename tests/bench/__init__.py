"""How fast it is, measured as design section 7 asks: ``make bench``.

Every figure stands beside another one taken in the same run, so that a slow machine or
a busy one does not lie. Inputs are real trees, parts are real parts. No test fails
because of a time; what is too slow is said in the table.

``python -m tests.bench [NAME…] [--quick] [--json FILE]``; a benchmark is a function
from ``Settings`` to figures, and one line in ``__main__``.
"""
