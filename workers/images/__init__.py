"""From a manifest to one merged root file system, as metadata.

Knows images and tar; knows nothing of registries, queues or where the result goes. The
story of one image: ``manifest`` says which layers, ``decompress`` and ``tar`` turn a
blob into members, ``layer`` stores the bytes of their files through ``content`` and
lets ``layer_builder`` make a tree of each layer, ``merge`` puts the trees on top of
each other, ``singularity`` adds what apptainer needs.
"""
