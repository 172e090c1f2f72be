"""Keys of the node metadata that carries debug handles through a file.

``edgec.sources`` is a JSON list of names of source nodes; ``edgec.origins`` is a JSON list with, per result, the list of names of the
source model's values that the result equals. Both are written only where they differ from the node's and the results' own names.

``DOC`` is the key under which a node of the IR holds the ``doc_string`` of its file; it is not written as metadata.
"""

SOURCES = "edgec.sources"
ORIGINS = "edgec.origins"
DOC = "edgec.doc_string"
