"""HTML -> text: words stay whole, blocks stay apart, what no reader sees is gone."""

import pytest

from stream_app.codecs.html import html_to_text


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("V<b>i</b>a<!-- x -->gra", ["Viagra"]),
        ("<p>one</p><p>two</p>", ["one", "two"]),
        ("one<br>two<BR/>three<hr>four", ["one", "two", "three", "four"]),
        ("<div>one</div>two", ["one", "two"]),
        ("<table><tr><td>a</td><td>b</td></tr><tr><th>c</table>d", ["a", "b", "c", "d"]),
        ("<ul><li>a<li>b</ul><h1>c</h1>d", ["a", "b", "c", "d"]),
        ("<head><title>t</title><style>s</style></head>a<script>x<y</script>b", ["ab"]),
        ("caf&eacute; &#8364;5 a&amp;b &lt;p&gt;", ["café", "€5", "a&b", "<p>"]),
        ("a < b and 1 > 0", ["a", "<", "b", "and", "1", ">", "0"]),
        ("<p <b>broken", ["broken"]),
        ("<frameset><frame></frameset>", []),
        ("<template>x</template>", []),
        ("", []),
    ],
)
def test_words(html: str, words: list[str]):
    assert html_to_text(html).split() == words


@pytest.mark.parametrize("tag", ["div", "b", "table", "svg", "select", "x", "a><p"])
def test_deep_nesting_is_survived(tag: str):
    assert "word" in html_to_text(f"<{tag}>" * 5_000 + "word")


def test_long_html_is_cut():
    assert len(html_to_text("word " * 100_000)) < 200_000
