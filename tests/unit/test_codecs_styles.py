"""Styles: what they hide is not read, and what they only seem to hide is.

`HID` must not be read; each `see` must.
"""

import pytest

from stream_app.codecs.html import html_to_text


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : NONE",
        "display:none !important",
        "display:none!important;display:block",
        "color:red;display:none;",
        "display:/* x */none",
        "visibility:hidden",
        "visibility:collapse",
        "opacity:0",
        "opacity:0.0",
        "font-size:0",
        "font-size:0px",
        "font-size:0.0em",
        "font-size:.1px",
        "font-size:0%",
        "font:0/0 a",
        "font: bold 0px arial",
        "display:none;background:url('a;b')",
        "&#100;isplay:none",
        "d\\69splay:n\\00006fne",
        "opacity:5%",
        "font-size:1px",
        "font-size:1.5pt",
        "font-size:5%",
        "color:#fff",
        "color:White",
        "color:rgb(255, 254, 250)",
        "color:rgba(0,0,0,0)",
        "color:transparent",
        "color:red;background:#f00",
        "background:#123456 none;color:#123455",
        "content-visibility:hidden",
        "position:absolute;left:-9999px",
        "position:fixed; top:-100em",
        "clip:rect(0 0 0 0);position:absolute",
        "clip:rect(1px, 1px, 1px, 1px);position:absolute",
        "display:block;clip-path:inset(50%)",
        "display:block;text-indent:-9999px",
        "display:block;transform:scale(0)",
        "display:inline-block;transform:translateX(-9999px)",
    ],
)
@pytest.mark.parametrize("name", ["div", "p", "span", "td", "font", "b"])
def test_styles_that_hide(style: str, name: str):
    start, end = ("<table><tr>", "</table>") if name == "td" else ("", "")
    html = f'{start}<{name} style="{style}">HID<i>HID</i></{name}>{end}see'
    assert html_to_text(html).split() == ["see"]


@pytest.mark.parametrize(
    "style",
    [
        "max-height:0;overflow:hidden",
        "height:0px;width:0px;overflow:hidden",
        "overflow: hidden; max-width: 0",
        "height:1px;overflow-y:hidden",
    ],
)
def test_boxes_without_room_hide_where_there_is_a_box(style: str):
    for name in ("div", "p"):
        assert html_to_text(f'<{name} style="{style}">HID</{name}>see').split() == ["see"]
    for name in ("span", "b", "font"):
        assert html_to_text(f'<{name} style="{style}">see</{name}>') == "see"
        boxed = f'<{name} style="{style};display:block">HID</{name}>see'
        assert html_to_text(boxed).split() == ["see"]
    assert html_to_text(f'<table><td style="{style}">see</table>').split() == ["see"]


@pytest.mark.parametrize(
    "style",
    [
        "display:block",
        "display:none;display:block",
        "display:nonesuch",
        "display:none\\9",
        "-moz-display:none",
        "background:url(x;display:none)",
        "content:';display:none;'",
        "visibility:visible",
        "opacity:0.5",
        "font-size:10px",
        "font-size:0;font-size:9pt",
        "max-height:0",
        "height:0",
        "overflow:hidden;max-height:100px",
        "mso-hide:all",
        "line-height:0",
        "height:0;padding-top:50px;overflow:hidden",
        "max-height:0;min-height:3em;overflow:hidden",
        "color:#fff;background:url(dark.png)",
        "color:#fff;background-image:linear-gradient(#000, #333)",
        "color:white;background-color:black",
        "color:#fff;text-shadow:0 0 2px #000",
        "color:var(--ink)",
        "color:#eee;background:var(--paper)",
        "color:inherit",
        "color:#767676",
        "left:-9999px",
        "text-indent:-20px",
        "margin-left:-10px",
        "position:relative;left:-9999px",
        "opacity:0;animation:appear 1s forwards",
        "display:none;all:initial",
        "display:none;background:url(/*);display:block;x:url(*/)",
        "display:none;background:url(a'b);display:block;x:url(c'd)",
        "x:(a;(b);display:none)",
        "x:(;display:none",
        "color:white;-webkit-text-fill-color:black",
    ],
)
def test_styles_that_hide_nothing(style: str):
    assert html_to_text(f'<div style="{style}">see</div>').split() == ["see"]


@pytest.mark.parametrize(
    "sheet",
    [
        ".x{display:none}",
        "p.x , #y { display : none !important }",
        "p{color:red}.a,.x{visibility:hidden}",
        "@media screen{.x{display:none}}",
        "@import url(a.css); .x{font-size:0}",
        "/* } */.x{display:none}",
        "<!-- .x{display:none} -->",
        "@font-face{font-family:a}.x{display:none",
        ".x{display:block}.x{display:none}",
        "@media print{p{color:red}}@media all{.x{display:none}}",
        "P.x{display:none}",
        "p.w.x{display:none}",
        "body .x{display:none}",
        "* > p.x{display:none}",
        ".x{color:#fff}",
        ".x{color:#222;background-color:#222}",
        ".x{max-height:0}.w{overflow:hidden}",
        "#z{display:none}p.x{display:block}",
        ".x{display:none!important}p.x.w{display:block}",
        "p{display:none}p{display:block}.x{display:none}.y{display:block}",
        ".x{d\\isplay:none}",
        ".y:hover{display:block}.x{display:none}",
    ],
)
def test_style_sheets_that_hide(sheet: str):
    sheet = sheet if sheet.count("{") == sheet.count("}") else sheet + "}"
    hidden, style = "<p class='w x' id=z>HID</p><div>see</div>", f"<style>{sheet}</style>"
    for html in (style + hidden, hidden + style, f"<STYLE media=Screen>{sheet}</STYLE>{hidden}"):
        assert html_to_text(html).split() == ["see"]


@pytest.mark.parametrize(
    "sheet",
    [
        "@media print{.x{display:none}}",
        "@media only screen and (max-width:600px){.x{display:none!important}}",
        "@media (prefers-color-scheme:dark){p{color:red}.x{display:none}}",
        ".xx{display:none}",
        "div .x{display:none}",
        ".x:before{display:none}",
        ".x{display:none}.x{display:block}",
        ".x::after{content:'.y{display:none}'}",
        ".x{display:none}p.x{display:block}",
        ".x{display:none}div .x{display:block}",
        ".x{display:none}@media (min-width:1px){.x{display:block}}",
        ".x{visibility:hidden}[class=x]{visibility:visible}",
        ".x{font-size:0}p:first-child{font-size:12px}",
        ".x{color:#fff}td.y .x{background:#000}",
        ".x{color:#fff}@media (prefers-color-scheme:dark){p{color:#eee}}",
        ".x{max-height:0;overflow:hidden}div>.x{overflow:visible}",
        "#z{display:none}.x{display:block!important}",
        "} .x{display:none}",
        "a; .x{display:none}",
        ".a{b:(} .x{display:none}",
        ".a{b:url(/*)} .y{display:none} c{d:url(*/)}",
        ".x{opacity:0;animation-name:appear}",
        ".x.y{display:none}",
        "div.x{display:none}",
        "@supports (display:none){.x{display:none}}",
    ],
)
def test_style_sheets_that_hide_nothing_from_most(sheet: str):
    html = f"<style>{sheet}</style><p class=x id=z>see</p>"
    assert html_to_text(html).split() == ["see"]


@pytest.mark.parametrize(
    "attributes",
    ["media=print", "media='(max-width:600px)'", "type=text/plain", 'media="only screen and x"'],
)
def test_a_style_element_for_others_hides_nothing(attributes: str):
    html = f"<style {attributes}>.x{{display:none}}</style><p class=x>see"
    assert html_to_text(html).split() == ["see"]


def test_an_important_rule_shows_what_an_attribute_hides():
    html = "<style>p{display:block!important}</style><p style='display:none'>see"
    assert html_to_text(html).split() == ["see"]
    html = "<style>p{display:none!important}</style><p style='display:block'>HID</p>see"
    assert html_to_text(html).split() == ["see"]


@pytest.mark.parametrize(
    "html",
    [
        "<font color=white>HID</font>see",
        "<font color='#FFFFFE'>HID</font><font color=red>see</font>",
        "<body bgcolor=black text='#000000'>HID<font color=#eee>see</font>",
        "<body bgcolor='#123'><p style='color:#112233'>HID</p>see",
        "<table bgcolor=navy><tr><td><font color='000080'>HID</font></table>see",
        "<table bgcolor=#000><td><p><font color=#fff>see</font><p><font color=#fff>see</table>",
        "<table bgcolor=navy><tr><td bgcolor=white><font color='000080'>see</font></table>",
        "<table><td background=x.png><font color=white>see</table>",
        "<div style='background:#000'><span style='color:#fff'>see</span>",
        "<div style='color:#fff'>HID<a href=x>see</a><button>see</button></div>",
        "<div style='color:#fff'>HID<mark>see</mark><div style='background:red'>see</div></div>",
        "<html style='background:#000'><p style='color:#fff'>see",
        "<style>body{background:#000}</style><p style='color:#fff'>see",
        "<body style='color:#fff;background:#000'><table bgcolor=#000><td>see</table>",
        "<div style='color:#fff'><table><tr><td>see</table></div>",
    ],
)
def test_text_of_the_colour_behind_it(html: str):
    text = html_to_text(html)
    assert "HID" not in text
    assert text.count("see") == html.count("see")


@pytest.mark.parametrize(
    "html",
    [
        "<div style='position:absolute;left:-9999px'>HID<p style='position:fixed;left:0'>see",
        "<div style='height:0;overflow:hidden'>HID<p style='position:absolute'>see",
        "<div style='text-indent:-9999px'>HID<p style='text-indent:0'>see",
        f"<p style='text-indent:-9999px'>{'see ' * 400}",
        "<div style='font-size:1px'>HID<b style='font-size:1200%'>see</b>",
        "<div style='font-size:50%'><p style='font-size:20%'>HID<p style='font-size:9pt'>see",
        f"{'<b>' * 20}<font style='font-size:0'>HID?<font style='font-size:9pt'>see",
    ],
)
def test_what_is_placed_elsewhere_or_made_larger_is_seen(html: str):
    text = html_to_text(html)
    assert "HID" not in text.replace("HID?", "")
    assert text.count("see") == html.count("see")
