"""Every exception Winnow raises on purpose.

WinnowError
├── ConfigError      the configuration is wrong: fix the file or the environment
├── ModelError       a model reference or artifact cannot be used
│   ├── NotRegistered        ... because the registry has no such model, alias or version
│   └── RegistryUnreachable  ... because the registry does not answer: waiting may help
├── SourceError      a file given to `produce`, `ingest` or `classify` cannot be read
├── FeedError        a news feed cannot be fetched or read: it is tried again later
├── RecordError      this one record cannot be labelled: it goes to the dead letters
│   └── NoText       ... because it has pictures or files, and no words
├── SinkError        labels could not be handed on: they are tried again, none is skipped
├── NoLabel          there is no label for a message in time: who asked goes on without
├── NoCorrection     what a person says is right is not passed on to those who learn
├── EngineError      a batch could not be scored
│   ├── OutOfMemory  ... because the device ran out of memory: a smaller batch may pass
│   └── EngineSick   ... and the canary fails too: the process must end, nothing is acked
├── ImapError        the mail server of [imap], or a mailbox on it, is not usable: waiting may help
│   └── ImapRefused      ... because one side does not trust or know the other: no outage
└── BrokerError      the broker, or a topic on it, is not usable
    ├── BrokerUnreachable  ... because it does not answer: waiting may help
    └── AccessError        ... because it refuses our credentials, or we its certificate: no outage

A message says what happened, to which route or file, and what to do. It never holds message text.
"""

from __future__ import annotations

from stream_app.core.messages import Message


class WinnowError(Exception):
    """Base of all errors a person can act on; the command line prints it without a traceback."""


class ConfigError(WinnowError):
    """The configuration is wrong."""


class ModelError(WinnowError):
    """A model reference or artifact cannot be used."""


class NotRegistered(ModelError):
    """The registry has no such model, alias or version."""


class RegistryUnreachable(ModelError):
    """The model registry does not answer."""


class SourceError(WinnowError):
    """An input file cannot be read."""


class FeedError(WinnowError):
    """A news feed cannot be fetched or read.

    `reason` is one of a small fixed set, a metric label; `retry_after` are the seconds that its
    server asks to be left alone.
    """

    def __init__(self, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class RecordError(WinnowError):
    """One record cannot be labelled.

    `code` is one of a small fixed set (it becomes a metric label and the header `winnow-error`);
    the message is for a person (the header `winnow-reason`).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NoText(RecordError):
    """A message that shows something, but no words: a picture, an attached file.

    That is no fault of its sender's: a route may label it `unsure`. `found` is the message without
    title and body.
    """

    def __init__(self, found: Message) -> None:
        super().__init__("no_text", "the message has no words, only pictures or files")
        self.found = found


class SinkError(WinnowError):
    """Labels could not be handed on, and waiting may help; at least `wait_seconds`, where known."""

    def __init__(self, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class NoLabel(WinnowError):
    """A message has no label in time.

    `reason` is one of a small fixed set, a metric label; `code` is the `RecordError.code` of a
    dead letter.
    """

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(f"no label: {reason}{code and f' ({code})'}")
        self.reason = reason
        self.code = code


class NoCorrection(WinnowError):
    """A correction is not passed on to those who learn from it.

    `reason` is one of a small fixed set, a metric label; `code` is the `RecordError.code` of a
    message without words.
    """

    def __init__(self, reason: str, message: str, code: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code


class EngineError(WinnowError):
    """A batch could not be scored."""


class OutOfMemory(EngineError):
    """The device ran out of memory on this batch."""


class EngineSick(EngineError):
    """Even the canary batch fails: the engine, not the record, is at fault."""


class ImapError(WinnowError):
    """The mail server of `[imap]` is not usable now, or not as we need it."""


class ImapRefused(ImapError):
    """It refuses our credentials or mailboxes, or we its certificate: waiting will not help."""


class BrokerError(WinnowError):
    """The broker, or a topic on it, is not usable."""


class BrokerUnreachable(BrokerError):
    """The broker does not answer."""


class AccessError(BrokerError):
    """The broker is there, but one side does not trust the other: waiting will not help."""


def cause_of(error: BaseException) -> BaseException:
    """The first error of those that ended a group of tasks, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
