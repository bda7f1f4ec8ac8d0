"""The commands of `sciexplain`: a module adds its parser and runs it; heavy imports wait until it runs."""
