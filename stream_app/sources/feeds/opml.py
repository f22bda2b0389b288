"""A list of feeds as feed readers write it -> their addresses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lxml import etree
from yarl import URL

from stream_app.core.errors import ConfigError

MAX_BYTES = 16 * 1024 * 1024
MAX_FEEDS = 10_000
MAX_URL_CHARS = 2_000


def subscriptions(lists: Iterable[Path], urls: Iterable[str]) -> list[str]:
    """The addresses in OPML files and those given, each once. Raises ConfigError for one that is
    no http address, for a file that is no OPML, and where there is none at all."""
    named = [(f"the OPML file {file}", url) for file in lists for url in _addresses(file)]
    named += [("the command line", url) for url in urls]
    for where, url in named:
        if not is_address(url):
            raise ConfigError(f"{where} has an address that is not http(s)://…: {url[:100]!r}")
    found = list(dict.fromkeys(url for _, url in named))
    if not found:
        raise ConfigError("there are no feeds: give --opml FILE, feeds.opml or addresses")
    if len(found) > MAX_FEEDS:
        raise ConfigError(f"{len(found)} feeds are more than one process reads ({MAX_FEEDS})")
    return found


def is_address(url: str) -> bool:
    """Whether a feed may be at `url`."""
    try:
        return len(url) <= MAX_URL_CHARS and URL(url).scheme in ("http", "https")
    except ValueError:
        return False


def shown(url: str) -> str:
    """An address without what may be secret in it: user, password and query."""
    try:
        return str(URL(url).with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return "an address that cannot be read"


def _addresses(file: Path) -> list[str]:
    """`xmlUrl` of each outline. libxml2's own limits hold for depth, sizes and entities."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"the OPML file {file} is larger than {MAX_BYTES // 2**20} MiB")
        root = etree.fromstring(file.read_bytes(), parser)
    except OSError as error:
        raise ConfigError(f"the OPML file {file}: {error.strerror}") from None
    except etree.XMLSyntaxError as error:
        raise ConfigError(f"the OPML file {file} is not XML: {error.msg}") from None
    if root.tag != "opml":
        raise ConfigError(f"{file} is XML, but no OPML: export the list from a feed reader")
    return [url.strip() for node in root.iter("outline") if (url := node.get("xmlUrl"))]
