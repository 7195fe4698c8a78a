"""The page: one file, with the hashes of its script and its style in the policy that a browser holds it to."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Final

PAGE: Final = files(__package__).joinpath("page.html").read_bytes()


def _hash_of(element: str) -> str:
    found = re.search(rb"<%b>(.*?)</%b>" % (element.encode(), element.encode()), PAGE, re.DOTALL)
    assert found is not None
    return base64.b64encode(hashlib.sha256(found[1]).digest()).decode()


POLICY: Final = (
    "default-src 'self'; frame-ancestors 'none'; "
    f"script-src 'sha256-{_hash_of('script')}'; style-src 'sha256-{_hash_of('style')}'"
)

PAGE_HEADERS: Final = ((b"content-security-policy", POLICY.encode()),)
