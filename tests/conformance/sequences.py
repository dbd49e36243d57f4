"""Byte sequences that are UTF-8 (RFC 3629), and such as are not."""

BORDERS = {                 # the first and last character of every length
    "U+0000": 0, "U+007F": 0x7f, "U+0080": 0x80, "U+07FF": 0x7ff,
    "U+0800": 0x800, "U+FFFF": 0xffff, "U+10000": 0x10000,
    "U+10FFFF": 0x10ffff,
    # and around the gaps inside
    "U+00FF": 0xff, "U+0FFF": 0xfff, "U+1000": 0x1000, "U+CFFF": 0xcfff,
    "U+D000": 0xd000, "U+D7FF": 0xd7ff, "U+E000": 0xe000, "U+3FFFF": 0x3ffff,
    "U+40000": 0x40000, "U+FFFFF": 0xfffff, "U+100000": 0x100000,
    # no characters, but not forbidden
    "U+FEFF": 0xfeff, "U+FFFD": 0xfffd, "U+FFFE": 0xfffe, "U+FDD0": 0xfdd0,
    "U+FDEF": 0xfdef, "U+1FFFE": 0x1fffe, "U+1FFFF": 0x1ffff,
}

SCRIPTS = {
    "Vietnamese": "Tiếng Việt: thế giới, xin chào!",
    "Vietnamese with combining marks": "Tie\u0302\u0301ng Vie\u0323\u0302t",
    "Greek": "Τη γλώσσα μου έδωσαν ελληνική",
    "Russian": "Съешь ещё этих мягких булок",
    "Hebrew": "דג סקרן שט בים", "Arabic": "صِف خَلقَ خَودِ كَمِثلِ",
    "Thai": "เป็นมนุษย์สุดประเสริฐ", "Hindi": "ऋषियों को सताने वाले",
    "Chinese": "天地玄黃,宇宙洪荒", "Japanese": "いろはにほへと ちりぬるを",
    "Korean": "키스의 고유조건은 입술끼리",
    "Gothic, beyond the first plane": "𐌼𐌰𐌲 𐌲𐌻𐌴𐍃 𐌹̈𐍄𐌰𐌽",
    "emoji with joiners": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
}

# What is wrong, and the shortest bytes that are.
BAD = {
    # a continuation byte alone
    "lonely byte 80": "80",
    "lonely byte bf": "bf",
    "two lonely continuation bytes": "80 bf",
    "three lonely continuation bytes": "80 bf 80",
    "six lonely continuation bytes": "80 bf 80 bf 80 bf",
    "continuation byte behind a whole character of 2": "c3 a9 80",
    "continuation byte behind a whole character of 3": "e1 ba bf 80",
    "continuation byte behind a whole character of 4": "f0 9f 98 80 80",
    # bytes that are never there
    **{f"byte {byte:02x}": f"{byte:02x}"
       for byte in (0xc0, 0xc1, *range(0xf5, 0x100))},
    "byte order mark of UTF-16": "ff fe",
    "Latin-1": "63 61 66 e9",
    # longer than need be
    "slash in 2 bytes": "c0 af",
    "slash in 3 bytes": "e0 80 af",
    "slash in 4 bytes": "f0 80 80 af",
    "slash in 5 bytes": "f8 80 80 80 af",
    "slash in 6 bytes": "fc 80 80 80 80 af",
    "U+0000 in 2 bytes": "c0 80",
    "U+0000 in 3 bytes": "e0 80 80",
    "U+0000 in 4 bytes": "f0 80 80 80",
    "U+007F in 2 bytes": "c1 bf",
    "U+0080 in 3 bytes": "e0 82 80",
    "U+07FF in 3 bytes": "e0 9f bf",
    "U+0800 in 4 bytes": "f0 80 a0 80",
    "U+FFFF in 4 bytes": "f0 8f bf bf",
    # halves of UTF-16's pairs
    "surrogate U+D800": "ed a0 80",
    "surrogate U+DB7F": "ed ad bf",
    "surrogate U+DB80": "ed ae 80",
    "surrogate U+DBFF": "ed af bf",
    "surrogate U+DC00": "ed b0 80",
    "surrogate U+DFFF": "ed bf bf",
    "pair of surrogates": "ed a0 bd ed b8 80",
    "pair of surrogates in the wrong order": "ed b8 80 ed a0 bd",
    # beyond the last plane
    "U+110000": "f4 90 80 80",
    "U+13FFFF": "f4 bf bf bf",
    "U+140000": "f5 80 80 80",
    "U+1FFFFF": "f7 bf bf bf",
    "U+200000 in 5 bytes": "f8 88 80 80 80",
    "U+3FFFFFF in 5 bytes": "fb bf bf bf bf",
    "U+4000000 in 6 bytes": "fc 84 80 80 80 80",
    "U+7FFFFFFF in 6 bytes": "fd bf bf bf bf bf",
    # a character that is broken off by ASCII
    "1 of 2 bytes, then ASCII": "c3 41",
    "1 of 3 bytes, then ASCII": "e1 41",
    "2 of 3 bytes, then ASCII": "e1 ba 41",
    "1 of 4 bytes, then ASCII": "f0 41",
    "2 of 4 bytes, then ASCII": "f0 9f 41",
    "3 of 4 bytes, then ASCII": "f0 9f 98 41",
    "1 of 3 bytes, ASCII, the rest": "e1 41 ba bf",
    # or by another character
    "1 of 2 bytes, then a start of 2": "c3 c3 a9",
    "1 of 3 bytes, then a start of 3": "e1 e1 ba bf",
    "2 of 3 bytes, then a start of 2": "e1 ba c3 a9",
    "2 of 4 bytes, then a start of 3": "f0 9f e1 ba bf",
    "3 of 4 bytes, then a start of 4": "f0 9f 98 f0 9f 98 80",
    "starts of 2 in a row": "c3 c3 c3 c3",
    "starts of 4 in a row": "f0 f0 f0 f0",
}
BAD = {title: bytes.fromhex(value) for title, value in BAD.items()}

# Good as far as they go; the end of the text makes them bad.
CUT_SHORT = {
    "1 of 2 bytes": "c3", "1 of 3 bytes": "e1", "2 of 3 bytes": "e1 ba",
    "1 of 4 bytes": "f0", "2 of 4 bytes": "f0 9f", "3 of 4 bytes": "f0 9f 98",
    "2 of 3 bytes below the surrogates": "ed 9f",
    "2 of 4 bytes of the last plane": "f4 8f",
}
CUT_SHORT = {title: bytes.fromhex(value) for title, value in CUT_SHORT.items()}

# Bytes of which the last shows that no good character can follow.
HOPELESS = {
    "lonely continuation byte": "80", "byte c0": "c0", "byte c1": "c1",
    "byte f5": "f5", "byte fe": "fe", "byte ff": "ff",
    "second byte of an overlong form of 3": "e0 9f",
    "second byte of an overlong form of 4": "f0 8f",
    "second byte of a surrogate": "ed a0",
    "second byte beyond the last plane": "f4 90",
    "ASCII as a second byte of 3": "e1 41",
    "ASCII as a third byte of 3": "e1 ba 41",
    "ASCII as a fourth byte of 4": "f0 9f 98 41",
}
HOPELESS = {title: bytes.fromhex(value) for title, value in HOPELESS.items()}
