"""Eight comparisons of two records of the same thing, each written down also when they agree.

``jobs`` says what is compared and how often, ``findings`` what a difference is; ``books`` (R1, R2), ``journals`` (R3),
``provider`` (R4, R5, R6), ``replicas`` (R7) and ``engines`` (R8) each compare purely what they have gathered; ``runs``
keeps the rows.
"""
