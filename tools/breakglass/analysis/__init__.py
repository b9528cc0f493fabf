"""Blast radius: who reaches whom, what is exposed, who may do what. Pure: objects in, findings out."""
