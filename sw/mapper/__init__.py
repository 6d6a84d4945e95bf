"""How one operator may be mapped onto an accelerator: the space as data, its rules, its costs, and ways to search it.

A model of its own, in closed form, that costs many mappings at once; programs are chosen and made by
`celosia.sw.compiler`, whose sizes on chip and cycles of POST are the ones used here.
"""
