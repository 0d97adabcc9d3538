"""The patterns of the sentence templates: one a rule, over a whole sentence, made of the fragments of English.

Named groups: ``s`` subject, ``v`` verb, ``p`` participle, ``rest`` and ``tail`` what stands around the answer,
``a`` the answer. What is made of them stands in ``templates_sentences``.
"""

from __future__ import annotations

from groundtune.dataset.build import grammar as g

#: a character of a clause: no mark but a decimal point
_C = r"(?:[^,.;:]|\.(?=\d))"
_S = r"^(?P<s>[^\n]{2,90}?)"
_UNIT = (
    r"(?: (?:per cent|percent|degrees|[a-z]+-hours?|[a-z]+(?:metres?|grams?|litres?)|metres?|litres?|"
    r"knots|miles|hours?|minutes?|seconds?|days?|weeks?|months?|years?|tonnes|amperes|volts|bar|"
    r"kilowatts|watts|points|votes|people|persons|characters|pages)|\s?%)"
)
PATTERNS: dict[str, str] = {
    "cost": (
        rf"{_S} costs (?P<a>{g.MONEY}(?: (?:a|an|per|each) [a-z]+)?)"
        rf"(?P<tail> (?:for|on|in|with) {_C}{{2,50}}?)?{g.END}"
    ),
    "amount": (
        rf"{_S} (?P<v>is|was) (?:set at |fixed at )?"
        rf"(?P<a>{g.MONEY}(?: (?:a|an|per) [a-z]+)?|{g.HEDGE}{g.NUMBER}{_UNIT})"
        rf"(?= before tax|\s*[;:!,]|\.(?!\w))"
    ),
    "dimension": (
        rf"{_S} (?P<v>is|are|was|were) (?P<a>{g.HEDGE}{g.NUMBER}{_UNIT}) "
        rf"(?P<d>long|wide|high|deep|tall|thick){g.END}"
    ),
    "count": (
        rf"{_S} (?P<v>has|have|had|holds|contains|carries) (?P<a>{g.HEDGE}{g.NUMBER}) "
        rf"(?P<n>{g.THINGS}){g.END}"
    ),
    "passive date": (
        rf"{_S} (?P<v>was|were) (?P<p>{g.PARTICIPLE})(?P<rest> {_C}{{2,60}}?)? (?:in|on) "
        rf"(?P<a>{g.DATE}|{g.YEAR})(?! (?:to|until|and \d|or)\b)(?![\w-])"
    ),
    "active date": (
        rf"{_S} "
        rf"(?P<v>takes? place|took place|begins?|began|starts?|started|ends?|ended|opens?|opened|closes?|"
        rf"closed|died|retired)"
        rf"(?P<rest> [^,.;:\d]{{2,50}}?)? (?P<prep>in|on) (?P<a>{g.DATE}|{g.YEAR})(?P<tail>)"
        rf"(?! (?:to|until|and \d|or)\b)(?![\w-])"
    ),
    "active time": (
        rf"{_S} (?P<v>begins?|starts?|ends?|opens?|closes?|leaves?|departs|arrives)"
        rf"(?P<rest> [^,.;:\d]{{2,50}}?)? (?P<prep>at) (?P<a>{g.CLOCK})"
        rf"(?P<tail> (?:on|in|every|each|from) {_C}{{2,40}}?)?{g.END}"
    ),
    "passive time": (
        rf"{_S} (?P<v>is|are) (?P<p>{g.PARTICIPLE})(?P<rest> [^,.;:\d]{{2,60}}?)? at "
        rf"(?P<a>{g.CLOCK})(?P<tail> (?:on|in|every|each) {_C}{{2,40}}?)?{g.END}"
    ),
    "duration": (
        rf"{_S} (?P<v>is|are|must|may|can|should|shall|will) (?P<rest>{_C}{{3,90}}?) "
        rf"(?P<prep>within|every|for) (?P<a>{g.DURATION})(?= by |{g.END[3:]}"
    ),
    "place": (
        rf"{_S} (?P<v>is|are) "
        rf"(?P<a>(?:in|at|on|beside|behind|under|above|opposite|next to|near) (?:the |a |an )?{_C}{{3,80}}?)"
        rf"{g.END}"
    ),
    "agent": (
        rf"{_S} (?P<v>is|are|was|were) (?P<p>{g.PARTICIPLE})"
        rf"(?P<rest> {_C}{{2,50}}?)? by (?:the (?:[a-z]+ ){{1,3}})?"
        rf"(?P<a>{g.NAME}(?: and {g.NAME})?){g.END}"
    ),
    "name": (rf"{_S} (?P<v>is|are|was) called (?:the )?(?P<a>\"[^\"]{{2,40}}\"|{g.NAME}){g.END}"),
    "person": (rf"^(?P<s>The [a-z][^,.;:\n]{{3,60}}?) is (?P<a>{g.FULL_NAME}){g.END}"),
    "apposition": (
        rf"\b[Tt]he (?P<s>(?:[a-z]+ ){{0,2}}[a-z]+(?: (?:of|at) (?:the )?[A-Za-z ]{{3,30}}?)?), "
        rf"(?P<a>{g.FULL_NAME})(?=[,.])"
    ),
    "definition": (rf"{_S} (?P<v>is|are|was) (?P<a>(?:an?|the|any) {_C}{{6,110}}?)(?=[.;]|, )"),
    "meaning": (
        r"^(?P<s>[^\n,]{2,60}?) (?:means|refers to|denotes|stands for|is defined as) "
        r"(?P<a>[^.;]{4,110}?)(?=[.;]|$)"
    ),
    "open": (
        rf"{_S} (?P<v>is|are) (?P<p>open|staffed) "
        rf"(?P<a>(?:on|from|daily|every|between|at|until) [^.;]{{4,110}}?)(?=[.;](?:\s|$)|, and |$)"
    ),
}
