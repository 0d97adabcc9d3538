"""What answers look like, one class an object, for the server's own OpenAPI description (``described``).

Answers are built as dictionaries where they are made, and not put through these classes on their way: that they have these shapes is
what ``tests/serving/test_schemathesis.py`` is for. A field with a default may be missing. Names and fields are the public description's.
"""
