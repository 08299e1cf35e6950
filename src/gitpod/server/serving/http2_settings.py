"""How h2 is set up for a connection of the service, and what is kept of its client's settings."""

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RemoteSettingsChanged
from h2.settings import SettingCodes, Settings

from gitpod.server.serving.http2_heads import HeadDecoder, HeadEncoder

MAX_HEAD_BYTES = 16 * 1024
"""The most bytes of a request's head, as they count in HTTP/2: 32 more for each header."""
STREAMS = 128
"""The most calls of one connection at a time. Clients keep further calls back."""
WINDOW = 256 * 1024
"""The most bytes of a request's body. The application takes fewer."""
HEADER_TABLE = 4096
"""The most bytes of the table by which the heads of answers are compressed (RFC 7541 section 4.2). Each header is
compared with all of the table, and each answer adds to it."""


def h2_connection() -> H2Connection:
    """Return the server's side of a connection."""
    h2 = H2Connection(
        H2Configuration(
            client_side=False,
            header_encoding=None,
            # Heads are validated call by call: h2 would end the connection.
            validate_inbound_headers=False,
            # It would join cookies, which nobody reads.
            normalize_inbound_headers=False,
            # Those of answers are the service's own.
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    settings = {
        SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
        SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
        SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
        SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
    }
    h2.local_settings = Settings(client=False, initial_values=settings)
    h2.encoder, h2.decoder = HeadEncoder(), HeadDecoder()
    h2.decoder.max_header_list_size = MAX_HEAD_BYTES
    return h2


def bound(h2: H2Connection, event: RemoteSettingsChanged) -> None:
    """Forget settings that have no meaning, of which h2 keeps 65,536, and bound those that cost the service."""
    for code in event.changed_settings:
        if not isinstance(code, SettingCodes):
            del h2.remote_settings[code]
    # Only if it is larger: the encoder forgets to announce a new size that is set twice.
    if h2.encoder.header_table_size > HEADER_TABLE:  # noqa: PLR1730 # `min` would set it always
        h2.encoder.header_table_size = HEADER_TABLE
