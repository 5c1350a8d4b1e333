"""A file of variables as operators write them, and what systemd makes of it."""

from __future__ import annotations

WRITTEN = (
    "# a comment; don't\n"
    "; don't, either\n"
    "   # one with spaces before it\n"
    "X_SIZE=4 GB\n"
    "X_HALF=4GB # half\n"
    "X_DSN=host=/run/postgresql port=5433 user=pgpredict_runtime\n"
    "X_TRAILING=  a  b \t\n"
    "X_EMPTY=\n"
    'X_QUOTED="a  b "\n'
    'X_QUOTED_EMPTY=""\n'
    "X_SINGLE='it is \"so\" \\n'\n"
    'X_ESCAPES="\\"q\\" \\$HOME \\`x\\` \\\\ \\n \\\n'
    'continued"\n'
    'X_LINES="one\n'
    'two"\n'
    "X_CONTINUED=one \\\n"
    "  two\n"
    'X_BACKSLASHES=a\\b\\\\c\\"d\n'
    "X_ESCAPED_SPACE=a\\ \\ \n"
    "X_JOINED=\"a \" b 'c'd\n"
    'X_INNER=a"b c"d\n'
    "X_EQUALS==a=b=\n"
    "X_HASH=#nothing\n"
    "  X_INDENTED = spaces around \n"
    "X_TWICE=1\n"
    "X_TWICE=2\n"
    "export X_EXPORT=1\n"
    "1X_DIGIT=1\n"
    "X-DASH=1\n"
    "X_NO_VALUE\n"
    "X_TAB=a\tb\n"
    "X_CONTROL=a\x01b\n"
    "X_UMLAUT=ä €\n"
    "X_CRLF=a b\r\n"
    "X_DOLLAR=$HOME ${X_SIZE}\n"
    "X_PASSWORD='p#w;d' \n"
    "X_LAST=the end \\"
)
#: by systemd 252; test_operate.py asks the one that is here
READ = {
    "X_SIZE": "4 GB",
    "X_HALF": "4GB # half",
    "X_DSN": "host=/run/postgresql port=5433 user=pgpredict_runtime",
    "X_TRAILING": "a  b",
    "X_EMPTY": "",
    "X_QUOTED": "a  b ",
    "X_QUOTED_EMPTY": "",
    "X_SINGLE": 'it is "so" \\n',
    "X_ESCAPES": '"q" $HOME `x` \\ \\n continued',
    "X_LINES": "one\ntwo",
    "X_CONTINUED": "one   two",
    "X_BACKSLASHES": 'ab\\c"d',
    "X_ESCAPED_SPACE": "a  ",
    "X_JOINED": "a b 'c'd",
    "X_INNER": 'a"b c"d',
    "X_EQUALS": "=a=b=",
    "X_HASH": "#nothing",
    "X_INDENTED": "spaces around",
    "X_TWICE": "2",
    "X_TAB": "a\tb",
    "X_CONTROL": "a\x01b",
    "X_UMLAUT": "ä €",
    "X_CRLF": "a b",
    "X_DOLLAR": "$HOME ${X_SIZE}",
    "X_PASSWORD": "p#w;d",
    "X_LAST": "the end ",
}
