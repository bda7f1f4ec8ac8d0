"""Agreement with others, each with its convention stated: zennit, captum, vectors computed by hand.

    peers       how the others are called
    networks    networks that zennit handles right: modules in sequence, every activation a module

Neither peer is a dependency. `make peers` installs both without their dependencies; tests that need a missing
one are skipped.
"""
