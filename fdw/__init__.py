"""Foreign data wrapper of pgpredict: quals in, a request to the runtime, rows out.

Loaded in every database backend: nothing but the standard library and ``multicorn``, Python 3.9.
"""
