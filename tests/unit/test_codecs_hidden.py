"""HTML: what is not shown is not read, and what is shown is, whatever stands around it.

`HID` must not be read; each `see` must.
"""

import pytest

from stream_app.codecs.html import Allowance, html_to_text
from tests.codec_cases import GOOD, SPAM, mail, read, words

HTML = "Content-Type: text/html; charset=utf-8"


@pytest.mark.parametrize(
    "html",
    [
        "<p hidden>HID</p>see",
        "<p hidden>HID<p>see",
        "<p HIDDEN=''>HID</p>see",
        "<p hidden style='display:block'>see</p>",
        "<p title='style=display:none'>see</p>",
        "<p style='color:red' style='display:none'>see</p>",
        "<template>HID</template>see",
        "<dialog>HID</dialog><dialog open>see</dialog>",
        "<datalist><option>HID</datalist>see",
        "<title>HID</title><style>HID</style><script>HID<b></script>see",
        "<iframe>HID</iframe><noframes>HID</noframes><noembed>HID</noembed>see",
        "<noscript>see</noscript><textarea>see</textarea><xmp>see</xmp>",
        "see<!-- HID --><!-->see<!--->see<!-- > HID --!>see<![if !mso]>see<![endif]>",
        "<!--[if mso]>HID<![endif]-->see",
        "<svg><title>HID</title><text>see</text></svg>see",
        "<svg style='display:none'><p>see",
        "<svg><style></svg>see</style>",
    ],
)
def test_elements_and_attributes(html: str):
    text = html_to_text(html)
    assert "HID" not in text
    assert text.count("see") == html.count("see")


@pytest.mark.parametrize(
    "html",
    [
        "<div style='display:none'>HID<p>HID<table><tr><td>HID</div>HID</table></div>see",
        "<div hidden>HID<object></div></object>HID</div>see",
        "<table style='display:none'>see<tr><td>HID</table>see",
        "<td style='display:none'>see</td>",
        "<b hidden>HID<p>HID</b>see</p>see",
        "<a hidden>HID<a>see</a>",
        "<i><span hidden>HID</i>see",
        "<div><font hidden>HID</div>HID</font>see",
        "<div hidden />HID</div>see",
        "<form><form hidden>see</form>",
        "<p hidden>HID<hr>see",
        "<ul><li hidden>HID<li>see</ul>",
        "<span style='visibility:hidden'>HID<b style='visibility:visible'>see</b>HID</span>",
        "<div style='font-size:0'>HID<span style='font-size:12px'>see</span>HID</div>",
        "<div style='font-size:0'>HID<span style='font-size:200%'>HID</span></div>see",
        "<div style='font-size:0'><font size=2>see</font>HID</div>",
        "<div style='font-size:0'><table><tr><td>see</table>HID</div>",
        "<div style='display:none'>HID<div style='display:block'>HID</div></div>see",
    ],
)
def test_where_what_hides_ends(html: str):
    text = html_to_text(html)
    assert "HID" not in text
    assert text.count("see") == html.count("see")


def test_what_forms_show_and_what_is_written_backwards():
    html = "<form><input value='Claim &amp; win'><input type=submit value=now><input type=hidden"
    html += " value=HID><input type=checkbox value=HID></form><bdo dir=RTL>argaiV</bdo> here"
    assert read("rfc822", mail(html, HTML)) == "hello Claim & win now Viagra here"


@pytest.mark.parametrize("size", [100, 10_000, 100_000, 3_000_000])
@pytest.mark.parametrize(
    "pad",
    [
        " ",
        "\n",
        "\u00a0",
        "\u200b",
        "&nbsp;",
        "&#8203;&zwnj; ",
        "<!-- padding -->",
        "<span class=a> </span>",
    ],
)
def test_padding_buys_nothing(pad: str, size: int):
    """As far as mark-up is read at all."""
    most = {"<": 200_000 // len(pad), "&": 50_000}.get(pad[0], size)
    count = min(size // len(pad), most)
    html = f"<p>Hi Bob, the minutes are attached.</p>{pad * count}<pre>{SPAM}</pre>"
    expected = words(f"hello Hi Bob, the minutes are attached. {SPAM}")
    assert read("rfc822", mail(html, HTML)) == expected


def test_tags_without_number_hide_nothing_behind_them():
    html = f"<div hidden>{'<b></b>' * 30_000}</div><pre>{SPAM}</pre>"
    assert read("rfc822", mail(html, HTML)) == words(f"hello {SPAM}")


@pytest.mark.parametrize("size", [100, 100_000, 5_000_000])
@pytest.mark.parametrize(
    "html",
    [
        '<p><img src="data:image/png;base64,{}"></p><pre>',
        '<p style="background:url(data:image/png;base64,{})"><pre>',
        "<p><img alt=a src='data:;base64,{}' width=1>\n<pre>",
        "<style>p{{background:url(data:image/gif;base64,{})}}</style><pre>",
        "<!-- {} --><pre>",
        "<script>{}</script><pre>",
        "<a href=data:text/html,{}></a><pre>",
    ],
)
def test_long_mark_up_costs_no_words(html: str, size: int):
    page = html.format("iVBORw0K" * (size // 8)) + GOOD + "</pre>"
    assert read("rfc822", mail(page, HTML)) == words(f"hello {GOOD}")


def test_an_attribute_behind_a_long_one_counts():
    html = f"<div title='{'x' * 50_000}' style='display:none'>HID</div>see"
    assert html_to_text(html).split() == ["see"]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<p a=x=">see<p b=">', "see"),
        ("<p title=don't>see</p>", "see"),
        ("<a 'HID>see'>", "see'>"),
        ("<p a='>' b=\"<i>\">see", "see"),
        ("see<a href='HID", "see"),
        ("see<p <b>see", "see see"),
        ("<a=b>see<a/b/>", "see"),
        ("&lt;see&gt; &#x41;&AMP;&notin;", "<see> A&∉"),
        ("V<!-- x -->i<b></b>a<wbr>g&shy;r&#x200b;a", "Viagra"),
    ],
)
def test_tags_are_cut_as_browsers_cut_them(html: str, text: str):
    assert read("rfc822", mail(html, HTML)) == f"hello {text}"


@pytest.mark.parametrize(
    "piece",
    [
        "<b>",
        "<!-->",
        "<div hidden>",
        "<p style='font-size:0'>x<b style='font-size:9px'>",
        "<style>.a{display:none}</style><p class=a>",
        "<table><tr><td><a hidden>",
        "<b hidden><i hidden></b></i>x",
        "&amp;&#x41;",
        "<svg><style>",
        "<a b='",
        "<",
    ],
)
def test_an_allowance_is_kept_whatever_the_mark_up(piece: str):
    left = Allowance(tokens=2_000, chars=5_000)
    assert len(html_to_text("words " + piece * 100_000, left)) < 80_000
    assert left.tokens > -10_000
    assert left.rest >= 0
