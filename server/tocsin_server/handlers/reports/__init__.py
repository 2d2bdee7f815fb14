"""A report as people and programs read it: a page, lines, figures; and where it goes."""
