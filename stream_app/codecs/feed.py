from stream_app.core.messages import Message, ParseSpec


def parse_feed(value: bytes, spec: ParseSpec) -> Message:
    raise NotImplementedError
