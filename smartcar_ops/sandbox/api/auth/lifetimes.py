"""How long the sandbox's tokens and codes are valid: Smartcar's real lifetimes."""

from datetime import timedelta

APPLICATION_TOKEN_LIFE = timedelta(hours=1)
"""V3's application token, from the client-credentials grant. A fault may shorten it."""

ACCESS_LIFE = timedelta(hours=2)
"""V2's access token of one user."""

REFRESH_LIFE = timedelta(days=60)
"""V2's refresh token of one user. Each refresh issues a new one."""

CODE_LIFE = timedelta(minutes=10)
"""The authorization code in Connect's redirect."""
