"""Contrastive alignment: teaches clients' profiles to be alike where their explicit interests are."""
