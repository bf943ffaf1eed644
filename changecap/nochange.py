"""The sentences by which the data sets say that nothing changed."""

# LEVIR-CC writes "has", SECOND-CC "is"; the first three they share.
NO_CHANGE = frozenset(
    {
        "the scene is the same as before",
        "there is no difference",
        "the two scenes seem identical",
        "no change has occurred",
        "almost nothing has changed",
        "no change is occurred",
        "almost nothing is changed",
    }
)


def says_no_change(sentence: str) -> bool:
    """Whether ``sentence`` is, blanks apart, literally one of :data:`NO_CHANGE`."""
    return " ".join(sentence.split()) in NO_CHANGE
