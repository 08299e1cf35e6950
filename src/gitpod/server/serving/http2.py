"""A connection of HTTP/2 with timeouts and limits. h2 reads and writes the frames, and says which of them are wrong.

Each request runs an ASGI application, as a request does under uvicorn. What is bounded: the connections, the requests
of a connection at a time, the size of a head, frames that ask for nothing, the time of a frame, of an idle connection
and of any connection, and the time that an answer waits for its reader.
"""

import asyncio
import logging
import traceback

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame, WindowUpdateFrame

from gitpod.server.edge.headers import ASGIApplication, Scope
from gitpod.server.serving.http2_frames import (
    DATA,
    GOAWAY,
    HEAD,
    MAX_FRAME_BYTES,
    PREFACE,
    RESET_COST,
    Frames,
    stream_of,
)
from gitpod.server.serving.http2_stream import STALL, Headers, Stream, head_of, scope_of

logger = logging.getLogger("gitpod.server")

MAX_HEAD_BYTES = 16 * 1024
"""The most bytes of a request's head, as they count in HTTP/2: 32 more for each header."""
STREAMS = 128
"""The most calls of one connection at a time. Clients keep further calls back."""
WINDOW = 256 * 1024
"""The most bytes of a request's body. The application takes fewer."""
IDLE, AGE, LONGEST_CALL = 300.0, 600.0, 40.0
"""Seconds until a connection without calls is closed; until one is told to open another; and the time that its calls
have then, which is longer than any call takes."""
LINGER = 1.0
"""Seconds in which calls may arrive that a client sent before it was told to open another connection."""


class HTTP2(asyncio.Protocol):
    """A connection.

    Args:
        app: answers the requests.
        connections: all open ones, to which this one is added.
        most: the most of them. This one is closed at once if it is one more.
    """

    def __init__(self, app: ASGIApplication, connections: "set[HTTP2]", most: int) -> None:
        self._app = app
        self._connections = connections
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._h2 = H2Connection(
            H2Configuration(client_side=False, header_encoding=None, validate_inbound_headers=False)
        )
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
        }
        self._h2.local_settings = Settings(client=False, initial_values=settings)
        self._h2.decoder.max_header_list_size = MAX_HEAD_BYTES
        self._streams: dict[int, Stream] = {}
        self._frames = Frames(self._streams)
        self._is_full = self._is_leaving = self._is_refusing = False
        self._owed = self._last = 0
        self._age = self._idle = self._slow = None

    _transport: asyncio.Transport
    _age: asyncio.TimerHandle | None
    _idle: asyncio.TimerHandle | None
    _slow: asyncio.TimerHandle | None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a stream's protocol
        """Greet the client (asyncio.Protocol)."""
        self._transport = transport
        if len(self._connections) >= self._most:
            transport.abort()
            return
        self._connections.add(self)
        self._age = self._loop.call_later(AGE, self.leave)
        self._idle = self._loop.call_later(IDLE, self.leave)
        self._slow = self._loop.call_later(STALL, transport.abort)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        """End the calls under way (asyncio.Protocol)."""
        self._connections.discard(self)
        for timer in (self._age, self._idle, self._slow):
            if timer:
                timer.cancel()
        for stream in [*self._streams.values()]:
            stream.leave()

    def data_received(self, data: bytes) -> None:
        """Read what has arrived (asyncio.Protocol)."""
        if self._transport.is_closing():
            return
        self._frames.received += data
        count = 0
        try:
            for count, frame in enumerate(self._frames.split(), 1):  # noqa: B007 # used after the loop
                if frame is PREFACE or not self._is_handled(frame):
                    for event in self._h2.receive_data(frame):
                        self._take(event)
        except H2Error:
            # The last frame says what was wrong.
            self._flush()
            self._transport.close()
            for stream in [*self._streams.values()]:
                stream.leave()
            return
        self._flush()
        if self._slow and (count or not self._frames.received):
            self._slow.cancel()
            self._slow = None
        if self._frames.received and not self._slow:
            self._slow = self._loop.call_later(STALL, self._transport.abort)
        if self._is_leaving:
            self._rest()

    def pause_writing(self) -> None:
        """Keep answers back until the client reads (asyncio.Protocol)."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on sending answers (asyncio.Protocol)."""
        self._is_full = False
        self._wake()

    def leave(self, *, refuse: bool = False) -> None:
        """Tell the client to open another connection, and close this one when its calls have ended.

        `refuse` refuses the calls that the client sent before it was told.
        """
        self._is_refusing |= refuse
        if not self._is_leaving and not self._transport.is_closing():
            self._is_leaving = True
            # h2 would end the calls under way.
            self._transport.write(GoAwayFrame(0, last_stream_id=2**31 - 1).serialize())
            if self._age:
                self._age.cancel()
            self._age = self._loop.call_later(LONGEST_CALL, self._transport.abort)
        if refuse:
            self._rest()
        else:
            self._loop.call_later(LINGER, self._rest)

    def abort(self) -> None:
        """Close the connection, and end its calls."""
        self._transport.abort()
        for stream in [*self._streams.values()]:
            stream.leave()

    def tasks(self) -> "list[asyncio.Task[None]]":
        """Return the calls under way."""
        return [stream.task for stream in self._streams.values() if stream.task]

    def room(self, stream: Stream) -> int:
        """Return how many bytes of an answer may be sent now."""
        if self._is_full:
            return 0
        return min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)

    def send_headers(self, stream: Stream, headers: Headers, *, is_last: bool) -> None:
        """Send the head of an answer, or its trailers."""
        self._h2.send_headers(stream.id, headers, end_stream=is_last)
        self._finish(stream, is_last=is_last)

    def send_data(self, stream: Stream, data: bytes, *, is_last: bool) -> None:
        """Send a part of the body of an answer, for which there is room."""
        self._h2.send_data(stream.id, data, end_stream=is_last)
        self._finish(stream, is_last=is_last)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a call without an answer, or before the end of its request."""
        if not self._transport.is_closing():
            self._h2.reset_stream(stream.id, code)
            self._flush()
        stream.leave()

    def _finish(self, stream: Stream, *, is_last: bool) -> None:
        if is_last and not stream.is_ended:
            # The client need not send the rest of its request. nginx takes this together with the end of the answer
            # only: it refuses what comes later for a call that has ended.
            self._h2.reset_stream(stream.id, ErrorCodes.NO_ERROR)
        stream.is_answered = is_last
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _wake(self) -> None:
        for stream in self._streams.values():
            stream.wake()

    def _is_handled(self, frame: bytes) -> bool:
        """Handle a frame that h2 would take for the end of calls. Returns whether it is one."""
        if frame[3] == GOAWAY:
            # The client waits for its calls.
            self._is_leaving = True
            return True
        number = stream_of(frame)
        stream = self._streams.get(number)
        is_answered = stream.is_answered if stream else number <= self._last
        if frame[3] != DATA or not is_answered:
            return False
        # The request was answered before its body came. h2 would reset its stream once more, with an error, which
        # proxies take for the answer.
        if size := len(frame) - HEAD:
            self._transport.write(WindowUpdateFrame(0, window_increment=size).serialize())
        return True

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, RemoteSettingsChanged) or (isinstance(event, WindowUpdated) and not event.stream_id):
            self._wake()
        elif isinstance(event, DataReceived):
            self._owed += event.flow_controlled_length or 0
            if self._owed >= MAX_FRAME_BYTES:
                self._h2.increment_flow_control_window(self._owed)
                self._owed = 0
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if stream:
            stream.take(event)

    def _begin(self, event: RequestReceived) -> None:
        number = event.stream_id or 0
        if self._is_refusing:
            self._refuse(number, ErrorCodes.REFUSED_STREAM)
            return
        self._last = number
        try:
            headers = head_of(event)
        except ProtocolError:
            # Of this call alone: a proxy may send calls of others over the connection.
            self._refuse(number, ErrorCodes.PROTOCOL_ERROR)
            return
        if self._idle:
            self._idle.cancel()
            self._idle = None
        scope = scope_of(headers, self._transport)
        stream = self._streams[number] = Stream(self, number, is_head=scope["method"] == "HEAD")
        stream.task = self._loop.create_task(self._run(scope, stream))

    def _refuse(self, number: int, code: ErrorCodes) -> None:
        self._h2.reset_stream(number, code)
        self._frames.pay(RESET_COST)

    async def _run(self, scope: Scope, stream: Stream) -> None:
        """Answer a request. Nothing is said of an exception, whose message may quote a value."""
        try:
            await self._app(scope, stream.receive, stream.send)
        except Exception as error:  # noqa: BLE001 # the application's
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("HTTP/2 %s: %s\n%s", scope["path"], type(error).__name__, frames)  # noqa: TRY400 # `exception` logs the message
        finally:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        del self._streams[stream.id]
        if stream.is_answered:
            self._frames.earn()
        elif not stream.is_gone and not self._transport.is_closing():
            self._h2.reset_stream(stream.id, ErrorCodes.INTERNAL_ERROR)
            self._flush()
        self._rest()

    def _rest(self) -> None:
        """Close the connection, now or later, if it has no calls."""
        if self._streams or self._transport.is_closing():
            return
        if self._is_leaving:
            # Later calls, if there are any, were not processed.
            self._h2.close_connection(last_stream_id=self._last)
            self._flush()
            self._transport.close()
        elif not self._idle:
            self._idle = self._loop.call_later(IDLE, self.leave)
