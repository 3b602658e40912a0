"""The model card, `reasoner/README.md`: prose by hand, and between markers whatever follows from files.

`sources` reads the files; `weights`, `worked`, `accuracy`, `aims`, `ways`, `costs`, `making` and `data` write blocks;
`pictures` says what is drawn and `plots` draws it; `pages` puts everything in its place.
"""
