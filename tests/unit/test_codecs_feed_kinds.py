"""Feeds of every version and kind, and the faults that they come with."""

import pytest

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.messages import ParseSpec
from tests.codec_cases import read

T = "<title>T</title>"
ATOM, ATOM_0_3 = "http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#"
DOCTYPE = '<!DOCTYPE rss PUBLIC "-//Netscape//DTD RSS 0.91//EN" "http://example.org/rss-0.91.dtd">'
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"'


def item(inner: str) -> bytes:
    return f"<item>{inner}</item>".encode()


def entry(inner: str, space: str = ATOM) -> bytes:
    return f'<entry xmlns="{space}">{inner}</entry>'.encode()


@pytest.mark.parametrize(
    "feed",
    [
        f"<?xml version='1.0'?>{DOCTYPE}<rss version='0.91'><channel><title>c</title><item>{T}"
        "<description>caf&eacute;</description></item></channel></rss>",
        f"<rss version='0.92'><channel><item>{T}<description>café</description></item></channel>"
        "</rss>",
        f"<rdf:RDF {RDF} xmlns:c='http://purl.org/rss/1.0/modules/content/'><channel><title>c</title>"
        "<items><rdf:Seq><rdf:li resource='u'/></rdf:Seq></items></channel><item rdf:about='u'>"
        f"{T}<description>no</description><c:encoded>&lt;p>café</c:encoded></item></rdf:RDF>",
        "<rss version='2.0' xmlns='http://backend.userland.com/rss2'><channel><item>"
        f"{T}<description>café</description></item></channel></rss>",
        f"<feed version='0.3' xmlns='{ATOM_0_3}'><title>f</title><entry>{T}"
        "<content type='text/html' mode='escaped'>&lt;p>caf&amp;eacute;</content></entry></feed>",
        f"<a:feed xmlns:a='{ATOM}'><a:entry><a:title>T</a:title><a:summary>café</a:summary>"
        "</a:entry></a:feed>",
        '{"version": "https://jsonfeed.org/version/1.1", "items": [{"title": "T", "id": "1",'
        ' "content_text": "", "content_html": "<p>café"}]}',
    ],
    ids=["0.91", "0.92", "1.0", "2.0", "Atom 0.3", "Atom 1.0", "JSON Feed"],
)
@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n", "\ufeff \r\n"])
def test_versions(feed: str, start: str):
    assert read("feed", (start + feed).encode()) == "T café"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "feed",
    [
        '{"title": "T", "content_text": "é"}',
        f"<?xml version='1.0' encoding='utf-16'?><item>{T}<description>é</description></item>",
        f"\r\n <?xml version='1.0'?><item>{T}<description>é</description></item>",
    ],
)
def test_utf_16(feed: str, encoding: str):
    assert read("feed", feed.encode(encoding)) == "T é"


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("<title type='text/plain'>a &lt;b> c</title>", "a <b> c"),
        (f"{T}<content type='text/plain'>1 &lt;b> 2</content>", "T 1 <b> 2"),
        (f"{T}<content type='text/html' mode='base64'>PHA+QjwvcD4=</content>", "T B"),
        (
            f"{T}<content mode='xml' type='application/xhtml+xml'><div>a<p>b</p></div></content>",
            "T a b",
        ),
    ],
)
def test_modes_of_atom_0_3(inner: str, text: str):
    assert read("feed", entry(inner, ATOM_0_3)) == text


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("<title type='html'>&amp;lt;b> x</title>", "<b> x"),
        ("<title type='html'><![CDATA[A &amp; B]]></title>", "A & B"),
        (
            f"{T}<content type='xhtml'><x:div xmlns:x='http://www.w3.org/1999/xhtml'><x:p>a</x:p>"
            "<x:p>b</x:p></x:div></content>",
            "T a b",
        ),
        (f"{T}<content type='application/xml'><a><b>B</b></a></content>", "T B"),
        (f"{T}<content type='image/png'>iVBORw0KGgo=</content><summary>B</summary>", "T B"),
        (f"{T}<content type='text/html' src='http://x/'/><summary>B</summary>", "T B"),
    ],
)
def test_contents_of_atom(inner: str, text: str):
    assert read("feed", entry(inner)) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("<![CDATA[a ]]]]><![CDATA[> b]]>", "a ]]> b"),
        ("<![CDATA[a]]><![CDATA[b]]>c<![CDATA[ d]]>", "abc d"),
        ("<![CDATA[<!-- no --><p>B & b</p>]]>", "B & b"),
        ("<![CDATA[AT&T &amp; R&D]]>", "AT&T & R&D"),
        ("&amp;lt;p&amp;gt;B&amp;lt;/p&amp;gt;", "<p>B</p>"),
        ("AT&amp;amp;T caf&amp;eacute;", "AT&T café"),
        ("&lt;div style='display:none'>no&lt;/div>B", "B"),
        ("a<div style='display:none'>no</div>b", "a b"),
        ("&#160;" * 60_000 + "B", "B"),
        ("V&#x200b;iagra", "Viagra"),
        ("a &#147;b&#148; &#x85; c &fjlig;", "a “b” ... c fj"),
        ("a &AMP; b &EACUTE;", "a & b &EACUTE;"),
    ],
)
def test_descriptions(written: str, text: str):
    assert read("feed", item(f"{T}<description>{written}</description>")) == f"T {text}"


@pytest.mark.parametrize(
    "inner",
    [
        "<media:group><media:content><media:description>B</media:description></media:content></media:group>",
        "<m:description xmlns:m='http://search.yahoo.com/mrss/'>B</m:description>",
        "<media:description type='plain'>B</media:description>",
        "<itunes:summary>B</itunes:summary>",
        "<i:summary xmlns:i='http://www.itunes.com/dtds/podcast-1.0.dtd'>B</i:summary>",
        "<dc:description>B</dc:description>",
        "<content:encoded><![CDATA[ ]]></content:encoded><description>B</description>",
        "<content:encoded>&#x200b;</content:encoded><description>B</description>",
        "<content:encoded><![CDATA[<img src=x>]]></content:encoded><description>B</description>",
        "<enclosure url='http://x/?a=1&b=2&amp;c=3'/><description>B</description>",
        "<atom:summary xmlns:atom='http://www.w3.org/2005/Atom'>no</atom:summary>"
        "<description>B</description>",
    ],
)
def test_where_the_words_may_be(inner: str):
    assert read("feed", item(T + inner)) == "T B"


@pytest.mark.parametrize(
    "feed",
    [
        f"{T}<description><![cdata[B]]></description>",
        f"{T}<description><![CDATA[B</description>",
        f"{T}<description>a<p>b<br>c</description>",
        "<title>a < b</title><description>B</description>",
    ],
)
def test_what_would_be_cut_off_is_refused(feed: str):
    with pytest.raises(RecordError) as caught:
        CODECS["feed"](item(feed), ParseSpec())
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("text", ["", "  ", "\u200b", "\u2060 \u00a0"])
def test_a_blank_text_of_json_is_none(text: str):
    feed = f'{{"title": "T", "content_text": "{text}", "content_html": "<p>B"}}'
    assert read("feed", feed.encode()) == "T B"


@pytest.mark.parametrize("payload", ['{"title": "T"}', '\ufeff{"title": "T"}', ' \n{"title": "T"}'])
@pytest.mark.parametrize("schema", [1, 65_541, 2**24 - 1])
def test_json_framed_by_a_serializer(payload: str, schema: int):
    assert read("feed", b"\0" + schema.to_bytes(4, "big") + payload.encode()) == "T"
