"""A secret is masked in every way that a URL may spell it."""

import pytest
from yarl import URL

from etlctl.redact import Redactor

SECRET = "a/b+c?d&e=f g:h@i;j,k!l*m(n)o'p$q"
PLACES = [
    URL("http://h/x").with_query({"k": SECRET}),
    URL("http://h") / SECRET,
    URL("http://h/").with_user(SECRET),
    URL("http://h/").with_user("u").with_password(SECRET),
    URL("http://h/x").with_path(f"/{SECRET}"),
]


@pytest.mark.parametrize("url", PLACES, ids=str)
def test_no_part_of_a_secret_stays_in_a_url(url: URL) -> None:
    shown = Redactor([SECRET]).text(str(url))
    assert "***" in shown
    assert "b" not in shown.replace("***", "")
