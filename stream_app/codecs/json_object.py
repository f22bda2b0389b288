from stream_app.core.messages import Message, ParseSpec


def parse_json(value: bytes, spec: ParseSpec) -> Message:
    raise NotImplementedError
