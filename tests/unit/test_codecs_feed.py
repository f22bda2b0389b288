"""Feed items: RSS, Atom and JSON Feed, as they are in the wild."""

import pytest

from stream_app.codecs import CODECS, feed
from stream_app.codecs.feed import MAX_BODIES, MAX_CHILDREN, MAX_MARK_UP, MAX_TITLES
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec

ATOM = b'xmlns="http://www.w3.org/2005/Atom"'


def parse(value: bytes, *pass_fields: str) -> Message:
    return CODECS["feed"](value, ParseSpec(pass_fields=pass_fields))


def error_of(value: bytes) -> RecordError:
    with pytest.raises(RecordError) as caught:
        parse(value)
    return caught.value


def test_an_rss_item():
    raw = b"""<item><title>Rates &amp;amp; rents</title><media:title>not this</media:title>
        <description>&lt;p&gt;They rise.&lt;/p&gt;&lt;p&gt;Again.</description><guid>g1</guid>
        <link>https://x/1</link><dc:creator>Ann</dc:creator><author/><author>Bob</author>
        <category>a</category><category>b</category></item>"""
    message = parse(raw, "category", "author", "dc:creator", "link", "absent")
    assert (message.title, message.body.split(), message.message_id) == (
        "Rates & rents",
        ["They", "rise.", "Again."],
        "g1",
    )
    assert message.fields == {
        "category": "a",
        "author": "Bob",
        "dc:creator": "Ann",
        "link": "https://x/1",
    }


def test_an_atom_entry():
    raw = b"""<entry %s><id>urn:1</id><title type="text">a &lt;b&gt; c</title>
        <link rel="self" href="s"/><link href="u"/><category term="news"/>
        <author><name>Ann</name><email>a@x</email></author><summary>short</summary>
        <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>on<b>e</b></p><p>two</p>
        <script>x</script></div></content></entry>"""
    message = parse(raw % ATOM, "link", "category", "author")
    assert (message.title, message.body.split()) == ("a <b> c", ["one", "two"])
    assert message.message_id == "urn:1"
    assert message.fields == {"link": "u", "category": "news", "author": "Ann a@x"}


def test_a_json_feed_item():
    raw = b"""{"id": 1, "url": "u", "title": "T", "content_html": "<p>one</p>two",
        "summary": "s", "tags": ["x"], "author": {"name": "Ann"}}"""
    message = parse(raw, "tags", "author.name")
    assert message == Message("T", "one\ntwo", "1", {"tags": '["x"]', "author.name": "Ann"})


@pytest.mark.parametrize(
    "raw",
    [
        b"<rss><channel><title>feed</title><item><title>T</title></item></channel></rss>",
        b"<feed %s><title>feed</title><entry><title>T</title></entry></feed>" % ATOM,
        b'<rdf:RDF xmlns:rdf="r" xmlns="x"><item><title>T</title></item></rdf:RDF>',
        b'<a:entry xmlns:a="http://www.w3.org/2005/Atom"><a:title>T</a:title></a:entry>',
        b"<a:entry><a:title>T</a:title></a:entry>",
        b'{"version": "https://jsonfeed.org/version/1.1", "items": [{"title": "T"}]}',
        b'\xef\xbb\xbf {"title": "T"}',
        b"\xef\xbb\xbf\n<?xml version='1.0'?><item><title>T</title></item>",
        "<?xml version='1.0' encoding='utf-16'?><item><title>T</title></item>".encode("utf-16"),
    ],
)
def test_wrappings_that_hold_one_item(raw: bytes):
    assert parse(raw).title == "T"


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"<description>a<br/>b <i>c</i>d</description>", "a b cd"),
        (b"<description><![CDATA[<p>a</p><p>b&nbsp;c</p>]]></description>", "a b c"),
        (b"<description>a&nbsp;b &eacute;</description>", "a b é"),
        (b"<description>if a &lt; b</description>", "if a < b"),
        (b"<content:encoded>full</content:encoded><description>short</description>", "full"),
        (b"<content src='x'/><summary>short</summary>", "short"),
        (b"<description>a\x01b</description>", "ab"),
        (b"<description>caf\xe9</description>", "caf\ufffd"),
    ],
)
def test_html_and_small_faults(raw: bytes, body: str):
    assert " ".join(parse(b"<item>" + raw + b"</item>").body.split()) == body


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "neither XML"),
        (b"words", "neither XML"),
        (b"\0\1\xff", "neither XML"),
        (b"<item><title>cut", "not valid XML"),
        (b"<item><title>a</title></item><item/>", "not valid XML"),
        (b"<item>" * 300, "not valid XML"),
        (b"<item><title>&#xD800;</title></item>", "a character that does not exist"),
        (b"<html><body>x</body></html>", "neither an RSS item nor an Atom entry"),
        (b"<rss><item>a</item><item>b</item></rss>", "2 items: send one item in each record"),
        (b"<rss></rss>", "0 items"),
        (b'{"items": [{}, {}]}', "2 items"),
        (b'{"items": [1]}', "not an object"),
        (b"{", "not valid JSON"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_malformed(value: bytes, reason: str):
    error = error_of(value)
    assert error.code == "malformed"
    assert reason in str(error)


def test_other_errors():
    assert error_of(b"<item><link>x</link></item>").code == "no_text"
    assert error_of(b'{"id": "x"}').code == "no_text"
    assert str(error_of(b'{"content": []}')) == "the field 'content' holds a list, not text"


def test_entities_are_neither_expanded_nor_fetched(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("leaked")
    document = '<!DOCTYPE item [<!ENTITY a "{}"><!ENTITY b SYSTEM "{}">]><item><title>T{}</title>{}'
    for entity in ("&a;", "&b;"):
        raw = document.format("leaked", secret.as_uri(), entity, "</item>")
        assert "leaked" not in parse(raw.encode()).title


def test_more_children_than_any_item_has_are_left_unread():
    assert parse(b"<item><title>T</title>" + b"<a/>" * MAX_CHILDREN + b"</item>").title == "T"
    late = b"<item><title>T</title>" + b"<a/>" * MAX_CHILDREN + b"<guid>1</guid></item>"
    assert parse(late).message_id is None


def test_few_of_many_texts_without_words_are_tried(monkeypatch: pytest.MonkeyPatch):
    """Each hostile one took 0.4 s, and a hundred fit in a record."""
    tried: list[str] = []
    monkeypatch.setattr(feed, "html_to_text", lambda html, left: tried.append(html) or "")
    title, body = b"<title>&lt;p></title>", b"<description>&lt;div></description>"
    assert error_of(b"<item>" + (title + body) * 100 + b"</item>").code == "no_text"
    assert len(tried) == MAX_TITLES + MAX_BODIES


@pytest.mark.parametrize("piece", [b"<a/>", b"&a;", b"<!---->"])
def test_more_mark_up_than_any_item_has_is_refused(piece: bytes):
    """A node takes fifty times its bytes of memory."""
    error = error_of(b"<item><title>T</title>" + piece * (MAX_MARK_UP + 1) + b"</item>")
    assert error.code == "malformed"
    assert "more mark-up" in str(error)


def test_a_bomb_of_entities_is_refused():
    entities = [f'<!ENTITY e{n} "{f"&e{n - 1};" * 20}">' for n in range(1, 12)]
    raw = f'<!DOCTYPE item [<!ENTITY e0 "x">{"".join(entities)}]><item title="&e11;"/>'
    assert error_of(raw.encode()).code == "malformed"


STORY = "The second paragraph has the words of the story."


@pytest.mark.parametrize(
    "declared",
    [
        "us-ascii",
        "iso-8859-1",
        "windows-1252",
        "koi8-r",
        "gb2312",
        "utf-16",
        "nonsense",
        "UTF-8",
        "",
    ],
)
@pytest.mark.parametrize("start", ["", "\ufeff", "\n", "\ufeff\r\n ", "  "])
def test_utf_8_is_utf_8_whatever_the_declaration_says(declared: str, start: str):
    encoding = f' encoding="{declared}"' if declared else ""
    raw = f'{start}<?xml version="1.0"{encoding}?><rss><channel><item><title>The café société ça'
    raw += f"</title><description>{STORY}</description></item></channel></rss>"
    message = parse(raw.encode())
    assert (message.title, message.body) == ("The café société ça", STORY)


@pytest.mark.parametrize(
    ("declared", "data", "title"),
    [
        ("us-ascii", b"caf\xe9", "café"),
        ("iso-8859-1", b"caf\xe9 \x93a\x94", "café “a”"),
        ("koi8-r", "привет".encode("koi8-r"), "привет"),
        ("gb2312", "中文新闻".encode("gbk"), "中文新闻"),
        ("shift_jis", "日本①".encode("cp932"), "日本①"),
        ("utf-8", b"caf\xe9 au lait", "caf\ufffd au lait"),
        ("utf-8", "café é".encode() + b"\xff au lait", "café é\ufffd au lait"),
        ("windows-874", b"\xe0\xb7\xc2\xff\xdb", "เทย\ufffd\ufffd"),
    ],
)
def test_an_undecodable_byte_cuts_nothing_off(declared: str, data: bytes, title: str):
    raw = b"<?xml version='1.0' encoding='%s'?><item><title>%s</title><description>%s</description>"
    message = parse(raw % (declared.encode(), data, STORY.encode()) + b"<guid>g</guid></item>")
    assert (message.title, message.body, message.message_id) == (title, STORY, "g")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_with_and_without_a_byte_order_mark(encoding: str):
    raw = (
        f"<?xml version='1.0' encoding='utf-16'?><item><title>ça</title><link>{STORY}</link></item>"
    )
    assert parse(raw.encode(encoding)).title == "ça"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("filters & fc-rDNS", "filters & fc-rDNS"),
        ("AT&T & B&B&", "AT&T & B&B&"),
        ("a &nbsp; b &eacute;&hellip;", "a b é…"),
        ("a &foo; b &; c &#; d", "a &foo; b &; c &#; d"),
        ("x?a=1&b=2&copy=3", "x?a=1&b=2&copy=3"),
        ("&#133; &#x93;a&#x94; &#233;", "… “a” é"),
        ("&lt;p&gt;Rates&nbsp;rise &amp;amp; fall.&lt;/p&gt;", "Rates rise & fall."),
        ("<![CDATA[<p>AT&amp;T & B&nbsp;&eacute;</p>]]>", "AT&T & B é"),
        ("a<![CDATA[ & ]]>b &amp; c &lt; d", "a & b & c < d"),
        ("bell\x07 &#7; and \ufffe none", "bell and none"),
    ],
)
def test_ampersands_and_entities(raw: str, text: str):
    item = f"<item><title>T</title><description>{raw}</description><guid>g</guid></item>"
    message = parse(item.encode())
    assert " ".join(message.body.split()) == text
    assert message.message_id == "g"


def test_a_bare_ampersand_in_an_attribute():
    raw = b"<entry %s><title>T</title><link href='http://x/?a=1&b=2'/></entry>" % ATOM
    assert parse(raw).message_id == "http://x/?a=1&b=2"


@pytest.mark.parametrize(
    ("title", "text"),
    [
        (b"<title>a &lt;b> c &amp;amp; d</title>", "a <b> c &amp; d"),
        (b"<title type='text'>a &lt;b> c</title>", "a <b> c"),
        (b"<title type='html'>a &lt;b> c &amp;amp; d</title>", "a c & d"),
        (b"<title type='text/html'>&lt;i>a&lt;/i></title>", "a"),
        (
            b"<title type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'>a<i>b</i></div></title>",
            "ab",
        ),
        (b"<title><![CDATA[Generics: List<String>]]></title>", "Generics: List<String>"),
    ],
)
def test_titles_of_atom_are_text_by_default(title: bytes, text: str):
    for start in (b"<entry %s>" % ATOM, b"<entry>"):
        assert " ".join(parse(start + title + b"</entry>").title.split()) == text


@pytest.mark.parametrize(
    "media",
    [
        b"<media:description>%s</media:description>",
        b"<media:group><media:title>no</media:title><media:description>%s</media:description>"
        b"</media:group>",
        b"<media:content url='x'><media:description type='plain'>%s</media:description>"
        b"</media:content>",
    ],
)
def test_media_descriptions(media: bytes):
    declared = b" xmlns:media='http://search.yahoo.com/mrss/'"
    for start in (b"<entry %s%s>" % (ATOM, declared), b"<entry>"):
        raw = start + b"<title>T</title>" + media % STORY.encode() + b"</entry>"
        assert parse(raw).body == STORY
    own = b"<item><description>own</description>" + media % STORY.encode() + b"</item>"
    assert parse(own).body == "own"


@pytest.mark.parametrize("value", [b'\0\0\0\0\x07{"title": "T"}', b'\0\0\0\x01\0 {"title": "T"}'])
def test_json_items_framed_by_a_serializer(value: bytes):
    assert parse(value).title == "T"
    assert "Confluent" in str(error_of(value.replace(b"{", b"\x02")))
