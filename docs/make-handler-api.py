#!/usr/bin/env python3
"""Prints docs/handler-api.md, made of the comments and declarations of
mod_websocket.h:

    docs/make-handler-api.py > docs/handler-api.md

With --check it compares instead; the exit status is 1 if they differ."""
import pathlib
import re
import sys
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
HEADER = HERE.parent / "mod_websocket" / "mod_websocket.h"
TARGET = HERE / "handler-api.md"

BEGIN = """\
# The handler API

What `mod_websocket.h` says, for reading; it is made of that file by
`docs/make-handler-api.py`. [handlers.md](handlers.md) is the tutorial.

"""
TYPE_SECTION = "Types and constants"
SKIPPED = ("WEBSOCKET_PUBLIC", "WEBSOCKET_PRINTF", "MOD_WEBSOCKET_H")


class Item:
    """A declaration with the comment before it; or a section's heading."""

    def __init__(self, comment, code):
        self.comment, self.code = comment, code
        self.more = []              # declarations that share the comment

    @property
    def names(self):
        return self.own_names() + [n for m in self.more for n in m.names]

    def own_names(self):
        if match := re.match(r"#define (\w+)", self.code):
            return [match[1]]
        if self.code.startswith("enum"):
            return re.findall(r"^\s*(?:enum \{ )?(WEBSOCKET_\w+) =", self.code,
                              re.M) or re.findall(r"WEBSOCKET_\w+", self.code)
        if match := re.search(r"\}\s*(\w+);\s*$", self.code):
            return [match[1]]
        if match := re.match(r"typedef void \(\*(\w+)\)", self.code):
            return [match[1]]
        if match := re.match(r"typedef struct \w+ (\w+);", self.code):
            return [match[1]]
        match = re.search(r"\b(websocket_\w+)\s*(?:\(|;)", self.code)
        return [match[1]]


def plain(comment):
    """A comment's text, as paragraphs."""
    text = re.sub(r"^/\*|\*/$", "", comment.strip()).strip()
    lines = [re.sub(r"^\s*\* ?", "", line) for line in text.split("\n")]
    return "\n".join(lines)


def mark_up(text):
    """Names as code; what is indented is code already."""
    parts = []
    for paragraph in re.split(r"\n\n", text):
        if paragraph.startswith("    "):
            parts.append(paragraph)
            continue
        paragraph = " ".join(paragraph.split())
        paragraph = re.sub(r"(?<![\w`])(websocket_\w+(?:\(\))?|"
                           r"WEBSOCKET_\w+|"
                           r"child_init|child_exit|option_size|is_last)"
                           r"(?![\w`])", r"`\1`", paragraph)
        paragraph = paragraph.replace("<Location>", "`<Location>`")
        parts.append(textwrap.fill(paragraph, 79, break_long_words=False,
                                   break_on_hyphens=False))
    return "\n\n".join(parts)


def blocks(text):
    """Comments and declarations, in their order."""
    pattern = re.compile(
        r"(?P<comment>/\*.*?\*/)|"
        r"(?P<define>#define \w+.*(?:\\\n.*)*)|"
        r"(?P<code>(?:typedef|enum|extern WEBSOCKET_PUBLIC|WEBSOCKET_PUBLIC)"
        r"(?:[^;{]*\{[^}\n]*\};|[^;{]*\{.*?^\}[^;]*;|[^;{]*;)"
        r"(?:[ ]*/\*[^\n]*(?:\n[ ]{30,}\*[^\n]*)*)?)",
        re.S | re.M)
    define = re.compile(r"#define (\w+)[^\n]*")
    at = 0
    while match := pattern.search(text, at):
        at = match.end()
        if match["define"]:
            # a macro ends with its line
            line = define.match(text, match.start())
            at = line.end()
            while text[at - 1] == "\\":
                at = text.index("\n", at + 1)
            yield "code", text[match.start():at]
        elif match["comment"]:
            yield "comment", match["comment"]
        else:
            yield "code", match["code"]


def items(text):
    comment = ""
    for kind, block in blocks(text):
        if kind == "comment":
            if heading := re.match(r"/\* --- (.*) --- \*/$", block):
                yield Item(heading[1], None)
                comment = ""
            else:
                comment = block
            continue
        item = Item(comment, block)
        comment = ""
        if not any(name in SKIPPED for name in item.names):
            yield item


def joined(found):
    """What has no comment belongs to what is before it."""
    last = None
    for item in found:
        if last and last.code and item.code and not item.comment:
            last.more.append(item)
            continue
        if last:
            yield last
        last = item
    yield last


def wrap_call(code):
    """Its parameters below it, where it is too long for a line."""
    if len(code) <= 79:
        return code
    head, _, rest = code.partition("(")
    return head + "(\n" + textwrap.fill(rest, 79, initial_indent="    ",
                                        subsequent_indent="    ")


def show_code(code):
    code = re.sub(r"(extern )?WEBSOCKET_PUBLIC\s+", "", code)
    code = re.sub(r"\n?\s*WEBSOCKET_PRINTF\(\d, \d\)", "", code)
    if not code.startswith(("typedef", "enum", "#")):
        code = re.sub(r"\s*\n\s*", " ", code)   # then it fits a wide page
        code = re.sub(r"\* (?=websocket_)", "*", code)
        code = wrap_call(code.replace("( ", "("))
    return code


def fields(code):
    """Of the handler: comment and declaration of each member."""
    body = code[code.index("{") + 1:code.rindex("}")]
    for comment, line in re.findall(
            r"(/\*(?:(?!\*/).)*\*/)?\s*\n?((?:[^;/]*);"
            r"(?:[ ]*/\*(?:(?!\*/).)*\*/)?)", body, re.S):
        yield comment, re.sub(r"\s*\n\s*", " ", line.strip())


def wrap_member(code):
    return "\n".join(textwrap.wrap(code, 79, subsequent_indent="    "))


def show_handler(item):
    for comment, line in fields(item.code):
        declaration, _, behind = line.partition("/*")
        name = re.search(r"\(\*(\w+)\)|(\w+);", declaration)
        yield f"### handler: `{name[1] or name[2]}`\n"
        yield f"```c\n{wrap_member(declaration.strip())}\n```\n"
        text = comment or "/*" + behind
        text = mark_up(plain(re.sub(r"\s+\* ", " ", text)
                             if not comment else comment))
        if text:
            yield text + "\n"


def generate(text):
    first = re.match(r"/\*.*?\*/", text, re.S)
    yield BEGIN + mark_up(plain(first[0])) + "\n"
    text = text[first.end():]
    yield f"## {TYPE_SECTION}\n"
    for item in joined(items(text)):
        if item.code is None:
            yield f"## {item.comment[0].upper()}{item.comment[1:]}\n"
            continue
        if item.names == ["websocket_handler_t"]:
            yield "## The handler\n"
            yield mark_up(plain(item.comment)) + "\n"
            yield from show_handler(item)
            continue
        title = ", ".join(f"`{name}`" for name in item.names)
        if len(item.names) > 2:
            title = f"`{item.names[0]}` …"
        yield f"### {title}\n"
        code = "\n".join(show_code(one.code) for one in [item, *item.more])
        yield f"```c\n{code}\n```\n"
        if item.comment:
            yield mark_up(plain(item.comment)) + "\n"


def main():
    made = "\n".join(generate(HEADER.read_text())).rstrip() + "\n"
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text() != made:
            print(f"{TARGET} is not what {HEADER} says: run "
                  f"docs/make-handler-api.py > docs/handler-api.md",
                  file=sys.stderr)
            return 1
        return 0
    sys.stdout.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
