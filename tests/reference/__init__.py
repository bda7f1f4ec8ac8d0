"""Slow float64 re-implementations of LRP, straight from the papers.

Every linear layer is a matrix W (output, input) with a bias vector, every rule one NumPy formula on W, and a
network a list of steps through which relevance R itself travels (never a message R / a). Nothing here imports
the package under test.

    matrices   linear layers as matrices, built position by position
    rules      the rule table of the papers on one matrix
    program    steps of a network: forward values, then relevance from the last step to the first
    activations, products, local    steps that are not linear: elementwise, of two signals, norms, softmax
    roles      which factor of a product is a gate or an attention weight
    networks   one builder that writes the same network twice: as a torch module and as a program; its parts
               are in grow_moves, grow_norms, grow_products, grow_recurrent
    gallery    a small network around every operation of the builder
"""
