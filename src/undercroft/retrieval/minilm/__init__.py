"""The built-in embedding model, all-MiniLM-L6-v2, made from published weights into int8 ONNX.

``files`` finds what was prepared, ``prepare`` makes it once, and ``convert`` (with ``graph``) does the heavy work in a
process of its own, so that the service never loads the ``onnx`` package.
"""
