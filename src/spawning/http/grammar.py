"""The grammar of HTTP/1.1: each pattern below the production that it implements.

Patterns work on heads decoded as latin-1, one character an octet. Whitespace within ``field-value`` is SP and HTAB
only. No two neighbouring parts of a pattern may take the same characters without being possessive (``*+``): what a
client sends must not be able to make a pattern try every way to divide it, which takes the square of its length.
"""

import re

# token = 1*tchar (RFC 9110 section 5.6.2)
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

# field-value without CTL: field-vchar = VCHAR / obs-text; plus SP and HTAB (RFC 9110 section 5.5)
VALUE = r"[\t\x20-\x7e\x80-\xff]*"

# request-line = method SP request-target SP HTTP-version (RFC 9112 section 3). A target is visible ASCII. Bytes above
# 127 are taken as they are in a path and a query: there are clients that do not encode them, and proxies pass them on.
METHOD_AND_TARGET = re.compile(rf"({TOKEN}) ([\x21-\x7e\x80-\xff]+)")

# HTTP-version = "HTTP" "/" DIGIT "." DIGIT (RFC 9112 section 2.3)
VERSION = re.compile(r" HTTP/([0-9])\.([0-9])")

# field-line = field-name ":" OWS field-value OWS (RFC 9112 section 5); no obs-fold, no space before the colon.
FIELD = re.compile(rf"({TOKEN}):[ \t]*+({VALUE})")

# What no head contains, wherever it may be: CTL but HTAB, CR without LF, LF without CR (RFC 9112 section 2.2, RFC 9110
# section 5.5). At the end of what has arrived, CR may still get its LF.
FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|(?<!\r)\n", re.DOTALL)

# Host = uri-host [ ":" port ] (RFC 9110 section 7.2, RFC 3986 section 3.2.2)
HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[!$&'()*+,;=:\-._~0-9A-Za-z]+\]"
    r"|(?:[!$&'()*+,;=\-._~0-9A-Za-z]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)

# authority-form = uri-host ":" port (RFC 9112 section 3.2.3)
AUTHORITY = re.compile(rf"(?=[^:]){HOST.pattern.removesuffix('(?::[0-9]*)?')}:[0-9]{{1,5}}")

# absolute-form = absolute-URI (RFC 9112 section 3.2.2), of the schemes that this server could be asked for
ABSOLUTE = re.compile(r"https?://([^/?#]+)([^#]*)", re.IGNORECASE)

# Content-Length = 1*DIGIT (RFC 9110 section 8.6); 18 digits stay below 2**63
CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")

# transfer-coding = token *( OWS ";" OWS token BWS "=" BWS ( token / quoted-string ) ) (RFC 9112 section 7)
TRANSFER_CODING = re.compile(rf'({TOKEN})(?:[ \t]*;[ \t]*{TOKEN}[ \t]*=[ \t]*(?:{TOKEN}|"[^"\\]*+"))*')

# chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ), chunk-ext-val = token / quoted-string
# (RFC 9112 section 7.1.1); bounded by the caller
_NAME = TOKEN.encode() + b"+"
_TEXT = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+'  # a quoted-string but its end
_VALUE = rb"[ \t]*+=[ \t]*+"
_EXTENSION = rb"[ \t]*+;[ \t]*+" + _NAME + rb"(?:" + _VALUE + rb"(?:" + _NAME + rb"|" + _TEXT + rb'")|(?![ \t]*+=))'

# chunk-size [ chunk-ext ] CRLF, chunk-size = 1*HEXDIG (RFC 9112 section 7.1)
_SIZED = rb"([0-9A-Fa-f]{1,15}+)(?:" + _EXTENSION + rb")*+"
CHUNK_HEAD = re.compile(_SIZED + rb"\r\n")

# What can become one.
CHUNK_HEAD_BEGUN = re.compile(
    _SIZED + rb"(?:\r|[ \t]*+(?:;[ \t]*+(?:" + _NAME + _VALUE + rb"(?:" + _TEXT + rb"\\?)?)?)?)"
)
