"""HTML -> text agrees with a browser's parser (Lexbor's whole tree) about any mix of mark-up."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from stream_app.codecs.html import html_to_text

NAMES = ("p", "div", "table", "tr", "td", "th", "tbody", "caption", "li", "ul", "dd", "dl", "h1")
NAMES += ("b", "i", "font", "a", "span", "center", "form", "pre", "section", "object", "button")
OPENED = [f"<{name}{rest}>" for name in NAMES for rest in ("", " hidden", " title='a>b' x=\"<p>\"")]
CLOSED = [f"</{name}>" for name in NAMES]
OTHERS = ["<br>", "<hr/>", "<!-- x -->", "<!-->", "<!x>", "</>", "<img alt='x'>", "&amp;", "&lt;b>"]
OTHERS += [
    "<style>p{}</style>",
    "<script>a<b</script>",
    "<title>t</title>",
    "<textarea>a<b></textarea>",
]
OTHERS += ["<svg><path/></svg>", "<template>t</template>", " < ", '<p a=b=">']
WORDS = [" one ", " two ", " three "]  # a parser moves texts, and whole ones can be compared
PIECES = st.lists(st.sampled_from(OPENED + CLOSED + OTHERS + WORDS * 12), max_size=30)
BLOCK = re.compile(
    r"</?(?:address|br|caption|center|dd|div|dl|form|h1|hr|li|p|pre|section|table|tbody|td|th|tr|ul)"
    r"(?=[\s/>])"
)


def by_the_tree(html: str) -> list[str]:
    """The words of the whole tree, without its hidden branches."""
    tree = LexborHTMLParser(BLOCK.sub(r"\n\g<0>", html))
    tree.strip_tags(["head", "script", "style", "title", "template"])
    for node in tree.css("[hidden]"):
        node.decompose()
    return sorted(tree.body.text(separator="").split()) if tree.body else []


@settings(max_examples=600, deadline=None)
@given(PIECES)
def test_words_are_those_of_the_tree(pieces: list[str]):
    html = "<body>" + "".join(pieces)
    assert sorted(html_to_text(html).split()) == by_the_tree(html)
