"""Every rule on a request. Each `check_` function raises InvalidFields with all that is wrong, or TooLarge.

A rule is what CONTRACT and the comments of the protos say; nothing here asks the store.
"""
