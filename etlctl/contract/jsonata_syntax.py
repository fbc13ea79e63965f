"""Where exactly a JSONata expression is broken: the offending token, not the place the parser had read up to."""

from __future__ import annotations


def syntax_problem(text: str) -> tuple[str, int, int] | None:
    """Return message, start and end of the first syntax error of a JSONata expression, or None."""
    from jsonata.jexception import JException  # noqa: PLC0415 - only contracts with JSONata pay for it
    from jsonata.parser import Parser  # noqa: PLC0415

    try:
        Parser().parse(text)
    except JException as error:
        after = min(max(error.location, 0), len(text))
        for token in (error.current, error.expected):
            start = after - len(str(token or ""))
            if token and start >= 0 and text[start:after] == str(token):
                return str(error), start, after
        return str(error), max(after - 1, 0), max(after, 1)
    except RecursionError:
        return "it is nested too deeply", 0, 1
    except Exception as error:  # noqa: BLE001 - the parser lets plain Python errors through on some broken texts
        return f"it cannot be parsed ({type(error).__name__}: {error})", 0, 1
    return None
