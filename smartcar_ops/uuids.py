"""What a UUID looks like: one pattern for the whole kit."""

from __future__ import annotations

import re

SHAPE = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""A UUID in lower case, as a regular expression."""

NIL = "00000000-0000-0000-0000-000000000000"
"""The UUID that stands for none: whoever sends it has lost an id."""

UUID = re.compile(SHAPE, re.IGNORECASE)
