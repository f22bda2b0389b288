"""Going on from the champion alone: no corpus, no recipe. See docs/adr/0020."""
