"""A line of cron as the npm package cron-parser reads it, which Bull, BullMQ and Agenda all use, written as one here.

What both read alike stays as it is: five fields, or six with seconds in front, names, lists, ranges, steps, `L`, `#`.
"""

from __future__ import annotations

#: Its words that are none here.
_WORDS = {
    "@secondly": "* * * * * *",
    "@minutely": "* * * * *",
    "@weekdays": "0 0 * * 1-5",
    "@weekends": "0 0 * * 0,6",
}


def as_here(line: str) -> str:
    """The same line; one that cron-parser would not read is left as it is.

    `?` is `*` to it. Where both fields of days say something, a day that fits either will do there, also where one
    begins with `*` (`*/2`): here such a day must fit both, so the star is written out.
    """
    fields = line.split()
    if len(fields) not in (5, 6):
        return _WORDS.get(line.strip().lower(), line)
    fields = ["*" if field == "?" else field for field in fields]
    if fields[-3] != "*" and fields[-1] != "*":
        fields[-3] = fields[-3].replace("*", "1-31")
        fields[-1] = fields[-1].replace("*", "0-6")
    return " ".join(fields)


def knows_no_zone(line: str) -> bool:
    """Whether it runs each hour of each day, so that all zones but those of odd minutes show the same."""
    return line.split()[-4:] == ["*"] * 4
