"""Training of the SMASH network and of child networks."""
