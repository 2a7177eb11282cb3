"""The bundled demonstration: photos, composing, simulated annotators, two models.

Nothing here is needed for real work. Composed photos, simulated annotators and
demonstration models say what they are wherever they appear.
"""
