"""sciexplain: what did a network trained on scientific data learn?"""
