"""No component in here: the golden test of E304 names it."""

ANSWER = 42
