"""JSONata on columns: expressions of which it is certain that they mean the same become Polars expressions.

``subset`` tells from the expression alone what cannot, without loading Polars; ``records`` compiles for the columns at
hand. The compiled form may still *doubt* records (a null where a number should be, sums past what 64 bits hold): those
go through the rows form, which is the authority.
"""
