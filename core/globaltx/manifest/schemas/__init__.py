"""The structural schemas of the three kinds, one file each, as OpenAPI v3 dictionaries.

They are the one source of what is valid: ``crds/`` is generated from them for the API server,
and ``globaltx.manifest.check`` applies them offline.
"""
