"""A model of all that a store promises, and how it is held against one."""
